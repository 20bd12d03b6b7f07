"""What several engines share: ascents, edits of pixels and cells, comparisons of answers."""
