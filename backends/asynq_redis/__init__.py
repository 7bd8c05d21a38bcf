"""Redis brokers for asynq, wire-compatible with Go asynq."""

from __future__ import annotations

from asynq_redis.brokers import RedisBroker, RedisClusterBroker, RedisSentinelBroker, connect
from asynq_redis.url import TLS

__all__ = ["TLS", "RedisBroker", "RedisClusterBroker", "RedisSentinelBroker", "connect"]
