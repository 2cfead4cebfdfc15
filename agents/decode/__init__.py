"""IKEv2 and G-IKEv2 messages as a person reads them: octets and a key log in, trees of named fields out.

For experiments. Decides nothing and verifies no signature: it shows what was said, not whether to believe it. Knows
nothing of capture files or of sockets.
"""

from agents.decode.keyfile import KeyFile, KeyFileError
from agents.decode.messages import Decoder, Message

__all__ = ["Decoder", "KeyFile", "KeyFileError", "Message"]
