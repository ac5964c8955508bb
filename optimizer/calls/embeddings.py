"""Embeddings that are bought: a model that turns texts into vectors, asked through the ledger like any other.

A call carries a batch of texts, each as a message; its completion is their vectors, in half precision as base64, so
that results.db keeps them, and the budget, the retries and the reports count them, as they do answers. Knows nothing of
what the vectors are for.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from optimizer.calls.faults import CallFailed, Fate
from optimizer.errors import ProviderError
from optimizer.ledger import Ledger
from optimizer.models import LONG, Service, classify_raised
from optimizer.records import Completion, Request
from search_spaces.prompt import Message, Settings

Vectors = NDArray[np.float32]
BATCH = 64  # texts of a call: as much as every provider takes
KEPT = "<f2"  # half precision errs by a two-thousandth, which moves no answer


class EmbeddingModel:
    """An embedding model behind LiteLLM; a `RemoteModel` whose completions are vectors.

    Parameters
    ----------
    service
        How it is reached.
    address
        As of any model.
    price
        US dollars for a token; None if not known.
    """

    def __init__(self, service: Service, address: str, price: float | None = None) -> None:
        self.name, self.address, self._service = service.name, address, service
        self.price = None if price is None else (price, 0.0)
        self.destination = service.destination

    async def ask(self, request: Request) -> Completion:
        """Make one attempt.

        Raises
        ------
        CallFailed
            If it gave no vectors.
        """
        # Providers refuse an empty text.
        texts = [message.content if message.content.strip() else "-" for message in request.messages]
        try:
            response = await self._service.litellm.aembedding(
                model=self.name,
                input=texts,
                timeout=LONG,
                num_retries=0,
                max_retries=0,
                drop_params=True,
                encoding_format="float",
                **self._service.told,
            )
        except Exception as error:  # noqa: BLE001 - LiteLLM has no common base class
            raise classify_raised(error) from None
        found = response.model_dump()
        tokens = int((found.get("usage") or {}).get("prompt_tokens") or 0)
        text = _packed([entry.get("embedding") for entry in found.get("data") or []], len(texts))
        return Completion(text, tokens, cost=tokens * (self.price or (0.0, 0.0))[0])

    async def leave(self) -> None:
        """LiteLLM keeps its connections to itself."""


def _packed(vectors: Sequence[Sequence[float]], count: int) -> str:
    """Write vectors as text, or refuse what are none."""
    try:
        array = np.asarray(vectors, dtype=np.float32).reshape(count, -1)
    except (ValueError, TypeError):
        array = np.empty((0, 0), dtype=np.float32)
    lengths = np.linalg.norm(array, axis=1, keepdims=True)
    if not array.size or not np.isfinite(lengths).all() or not lengths.all():
        raise CallFailed(Fate.PASSING, f"no {count} vectors of one length were in the answer", billed=True)
    return base64.b64encode((array / lengths).astype(KEPT).tobytes()).decode()


class BoughtVectors:
    """Embeddings of texts, each bought once; an `encoder.Embedder`.

    Parameters
    ----------
    ledger
        Buys from an `EmbeddingModel`.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.name, self._ledger = ledger.model.name, ledger
        self.priced = ledger.model.price is not None
        self._known: dict[str, tuple[Vectors, Completion]] = {}

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Buy what is not known.

        Raises
        ------
        ProviderError
            If a text has no vector.
        """
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        batches = [new[start : start + BATCH] for start in range(0, len(new), BATCH)]
        requests = [
            Request(tuple(Message("user", text) for text in batch), Settings(max_tokens=1)) for batch in batches
        ]
        for batch, (_, completion) in zip(batches, self._ledger.complete(requests), strict=True):
            if completion.error:
                raise ProviderError(f"{self.name}: {completion.error}")
            flat = np.frombuffer(base64.b64decode(completion.text), dtype=KEPT).astype(np.float32)
            n = len(batch)
            share = Completion("", round(completion.prompt_tokens / n), 0, completion.cost / n, completion.seconds / n)
            self._known |= {text: (vector, share) for text, vector in zip(batch, flat.reshape(n, -1), strict=True)}
        return np.stack([self._known[text][0] for text in texts])

    def paid(self, texts: Sequence[str]) -> list[Completion]:
        """What each of the texts took that were bought, shape (n,): its share of tokens, US dollars and seconds."""
        return [self._known[text][1] for text in texts]
