"""IKEv2 and G-IKEv2 messages in readable form: octets and a key log in, trees of named fields out.

For experiments. Decides nothing and verifies no signature: it shows the content, not its validity. Knows nothing of
capture files or of sockets.
"""

from agents.decode.keyfile import KeyFile, KeyFileError
from agents.decode.messages import Decoder, Message

__all__ = ["Decoder", "KeyFile", "KeyFileError", "Message"]
