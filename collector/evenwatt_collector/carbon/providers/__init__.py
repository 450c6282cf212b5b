"""Where intensities come from: one small module a source, and the feed that asks them in order.

``contract`` says what a source is; ``settings`` names those that can be configured; ``http`` is the only module that
speaks to the network; ``chain`` decides whom to ask and who speaks, and is pure; ``feed`` does as it says.
"""
