"""What Redis runs as one step: scripts in Lua.

The first key is always the sorted set of all keys. A location takes three arguments: its KV key, its field (empty
for a text), and the text to write.
"""

from __future__ import annotations

from typing import Final

READ: Final = """
local texts, evicted = {}, {}
for i = 2, #KEYS do
  local at = 2 * (i - 2)
  local text
  if ARGV[at + 2] == '' then text = redis.call('GET', KEYS[i]) else text = redis.call('HGET', KEYS[i], ARGV[at + 2]) end
  texts[i - 1] = text
  if not text and redis.call('ZSCORE', KEYS[1], ARGV[at + 1]) then evicted[#evicted + 1] = ARGV[at + 1] end
end
return {texts, evicted}
"""
"""The texts at locations of two arguments each, the KV key and the field, and the keys whose text is gone.

A transaction would not do: a server without memory left refuses to begin one.
"""

WRITE: Final = """
for i = 2, #KEYS do
  local at = 3 * (i - 2)
  if ARGV[at + 2] ~= '' then
    local kind = redis.call('TYPE', KEYS[i])['ok']
    if kind ~= 'hash' and kind ~= 'none' then return redis.error_reply('WRONGTYPE ' .. KEYS[i]) end
  end
end
for i = 2, #KEYS do
  local at = 3 * (i - 2)
  if ARGV[at + 2] == '' then redis.call('SET', KEYS[i], ARGV[at + 3])
  else redis.call('HSET', KEYS[i], ARGV[at + 2], ARGV[at + 3]) end
  redis.call('ZADD', KEYS[1], 0, ARGV[at + 1])
end
return 1
"""
"""Write any number of texts."""

SWAP: Final = """
local now
if ARGV[2] == '' then now = redis.call('GET', KEYS[2]) else now = redis.call('HGET', KEYS[2], ARGV[2]) end
if ARGV[4] == 'absent' then
  if now then return 0 end
elseif now ~= ARGV[5] then return 0 end
if ARGV[2] == '' then redis.call('SET', KEYS[2], ARGV[3]) else redis.call('HSET', KEYS[2], ARGV[2], ARGV[3]) end
redis.call('ZADD', KEYS[1], 0, ARGV[1])
return 1
"""
"""Write a text if the location is free (``absent``) or holds a known one (``same``, and the text)."""

DELETE: Final = """
local count = 0
for i = 2, #KEYS do
  local at = 2 * (i - 2)
  if ARGV[at + 2] == '' then count = count + redis.call('DEL', KEYS[i])
  else count = count + redis.call('HDEL', KEYS[i], ARGV[at + 2]) end
  redis.call('ZREM', KEYS[1], ARGV[at + 1])
end
return count
"""
"""Remove locations of two arguments each, the KV key and the field; return how many there were."""

ADD: Final = """
local now
if ARGV[2] == '' then now = redis.call('GET', KEYS[2]) else now = redis.call('HGET', KEYS[2], ARGV[2]) end
if now and not string.find(now, '^%-?%d+$') then return 'no number' end
if ARGV[4] ~= '' and redis.call('SISMEMBER', KEYS[3], ARGV[4]) == 1 then return now or '0' end
if ARGV[2] == '' then redis.call('INCRBY', KEYS[2], ARGV[3])
else redis.call('HINCRBY', KEYS[2], ARGV[2], ARGV[3]) end
if ARGV[4] ~= '' then redis.call('SADD', KEYS[3], ARGV[4]) end
redis.call('ZADD', KEYS[1], 0, ARGV[1])
if ARGV[2] == '' then return redis.call('GET', KEYS[2]) else return redis.call('HGET', KEYS[2], ARGV[2]) end
"""
"""Add to a counter, unless the addition with this token was made before; return the counter as text."""
