"""What the tests of rollouts share with those of promotion: a process that dies at a given write."""

from tests.promotion.conftest import dies, unspoilt

__all__ = ["dies", "unspoilt"]
