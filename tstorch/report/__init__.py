"""A trace told to people: the terminal report, its JSON form, exports."""
