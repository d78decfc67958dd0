"""Pictures, charts and HTML for people, shared by inspection, evaluation and the demo."""
