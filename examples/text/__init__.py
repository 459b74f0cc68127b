"""Language models of characters: windows of a text, networks, training, reports."""
