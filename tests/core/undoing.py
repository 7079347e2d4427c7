"""Asks the storage of a model's node, whose batches may be undone."""

from toystore.core.protocol.address import Peer
from toystore.core.protocol.machine import Now


def reply_to(node, message, asker: Peer, now: Now, *, undone: bool):
    """The reply to a message, if there is one; ``undone``: its batch is undone once, and fed again.

    ``node`` has a ``store``, a ``machine`` and its outbox ``out``.
    """
    for last in (False, True)[not undone :]:
        node.store.begin()
        node.machine.receive(message, asker, now)
        if last:
            node.store.commit()
            node.machine.on_commit()
        else:
            node.store.abort()
            node.machine.on_abort()
            node.out.clear()
    replies = node.out.sends.pop(asker, [None])
    node.out.clear()
    return replies[0]
