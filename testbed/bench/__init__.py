"""What `lab bench` measures inside the guest tree."""
