"""What a prompt can be: prompts, templates, wordings, demonstrations, and the space that combines them.

Knows no model, no score and no database, and imports nothing but the standard library.
"""
