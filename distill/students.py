"""The students that are tested; ``docs/students.md`` has their size and speed."""

from collections.abc import Mapping

TESTED: Mapping[str, float] = {
    "mobilenetv4_conv_small": 2.5,
    "mobilenetv4_conv_small_050": 1.0,
    "mobilenetv4_conv_medium": 8.4,
    "tf_efficientnet_lite0": 3.4,
    "repvit_m0_9": 4.7,
    "mobileone_s0": 4.3,
    "fastvit_t8": 3.3,
    "tiny_vit_5m_224": 5.1,
    "mobilenetv3_small_100": 1.5,
}
"""Millions of weights with a head for a few labels, by timm's name."""
