"""Dataset preparation: questions read from a source, brought into one form, split and checked."""
