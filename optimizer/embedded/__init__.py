"""The embedded model: a small in-process stand-in for a language model, for a first run without key or network.

model      the learner, and what it is and is not
reading    takes a prompt apart
marks      finds the fields in a text
forms      the labels a prompt lists and the form it asks for
copying    finds in another input the spans that answer it
"""

from optimizer.embedded.model import EmbeddedModel, complete_text

__all__ = ["EmbeddedModel", "complete_text"]
