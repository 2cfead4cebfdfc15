"""What runs inside the guest: builds the laboratory of a plan, plays its timeline, keeps the record."""
