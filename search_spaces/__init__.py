"""What may be said: prompts, templates, wordings, demonstrations, and the space that joins them.

Knows no model, no score and no database, and imports nothing but the standard library.
"""
