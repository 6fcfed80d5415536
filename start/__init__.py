"""Starting: from images and labels to a config that runs, and pictures of what models will see."""
