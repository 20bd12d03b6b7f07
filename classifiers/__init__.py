"""What is explained: the reference classifiers, how they are fitted, how foreign ones are adapted."""
