"""The pipeline that turns questions into answers, and the pictures of an answer."""
