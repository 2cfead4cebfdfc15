"""What holds for all tests: a busy machine makes no test fail, so hypothesis does not judge by the clock."""

from hypothesis import HealthCheck, settings

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
