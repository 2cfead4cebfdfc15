"""The experiment `effort`: what a person types, decides and keeps secret to protect OSPF's packets. Knows no guest."""
