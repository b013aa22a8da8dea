-- What processes tell each other: an entry for each topic, the one of the highest rank, until its time is up.
--
-- KEYS[1] the board; ARGV[1] the topic, '' to read only; ARGV[2] its rank; ARGV[3] the entry as JSON (see
-- redis-board.ts); ARGV[4] the channel for news. The answer to reading is all that stands there.
local key, topic = KEYS[1], ARGV[1]
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)

-- Takes down what is over. The answer is the rest.
local function sweep()
  local left = {}
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    if cjson.decode(all[i + 1])['until'] <= now then
      redis.call('HDEL', key, all[i])
    else
      left[#left + 1] = all[i + 1]
    end
  end
  return '[' .. table.concat(left, ',') .. ']'
end

if topic == '' then return sweep() end
local old = redis.call('HGET', key, topic)
if old then
  old = cjson.decode(old)
  if old['until'] > now and old.rank > tonumber(ARGV[2]) then return '' end
elseif redis.call('HLEN', key) % 256 == 255 then
  sweep()
end
redis.call('HSET', key, topic, ARGV[3])
local left = math.max(redis.call('PTTL', key), math.ceil(cjson.decode(ARGV[3])['until'] - now))
if left > 0 then redis.call('PEXPIRE', key, left) end
redis.call('PUBLISH', ARGV[4], '! ' .. ARGV[3])
return ''
