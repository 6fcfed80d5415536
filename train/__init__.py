"""Stage 1: fine-tune the teacher."""
