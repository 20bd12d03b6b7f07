"""Classifiers that somebody else trained: opened in every form that people have them, and adapted."""
