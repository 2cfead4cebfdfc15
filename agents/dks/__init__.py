"""The Domain Key Server: hands signed policy to routers and, where policy says so, makes their groups' keys.

A GC/KS in the sense of RFC 3740 and RFC 4046, over G-IKEv2 (RFC 9838). Cannot alter policy: that is signed elsewhere.
"""
