"""The one pipeline: questions in, answers out; and an answer's own pictures."""
