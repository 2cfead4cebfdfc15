"""What an administrator types for a first domain of one router, in the folder in which it is typed."""

A_DOMAIN = """
set -eu
for name in dks r1; do
  openssl genpkey -algorithm ED25519 -out $name.pem 2>/dev/null && openssl pkey -in $name.pem -pubout -out $name.pub
done
policy init example --dks-key dks.pub --dks-address 192.0.2.1
policy router add r1 --key r1.pub
policy router approve r1 --key r1.pub
policy interface add r1:e0 --address 10.0.0.1/24 --link-local fe80::1 --mode required
policy commit -m first
policy export documents
"""
