-- What all processes use of one account, in one key: one call applies what a process reports and grants what it asks
-- for, over every limit of the account or none. Version 1: a change of what is stored needs another key prefix.
--
-- A limit's state is what is counted (slices of a window, slots of a bucket that drains, the time of the next turn)
-- and what each process holds: room granted to it that it may use at any moment, or has used and not reported yet.
-- What is held counts in full. A process that is not heard of for its time to live has used all of it at the last
-- moment at which it may have.
--
-- KEYS[1] the account; ARGV[1] the message as JSON (see redis-message.ts); ARGV[2] the time in ms, for tests: '' is
-- this server's own. Times in the reply are ms, those of turns µs.
local key, m = KEYS[1], cjson.decode(ARGV[1])
local floor, min, max = math.floor, math.min, math.max
local now = tonumber(ARGV[2])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + t[2] / 1000
end
local packed = redis.call('HGET', key, '=')
local s = packed and cmsgpack.unpack(packed) or { inc = m.inc, at = 0, procs = {}, limits = {} }
-- This server has forgotten all: nothing is granted before every process has had time to say what it used.
if not packed and m.again then s.quiet = now + m.again end
-- A replica that takes over may be behind: time never runs backwards.
now = max(now, s.at)
s.at = now

local function num(x) return string.format('%.17g', x) end
local function field(l, slice) return l.k .. '/' .. string.format('%d', slice) end

-- Slices from l.o to l.n may have something in them; l.u is their sum, less l.p that has drained from the first.
local function put(l, slice, amount)
  if l.u < 1e-9 then
    -- What has drained from the first is still written there, after the rest was taken back.
    if l.p > 0 then redis.call('HDEL', key, field(l, l.o)) end
    l.u, l.o, l.n, l.p = 0, slice, slice, 0
  end
  if slice < l.o then l.o, l.p = slice, 0 end
  l.n = max(l.n, slice)
  local f = field(l, slice)
  local had = tonumber(redis.call('HGET', key, f) or 0)
  local left = max(0, had + amount)
  if left > 0 then redis.call('HSET', key, f, num(left)) else redis.call('HDEL', key, f) end
  l.u = max(0, l.u + left - had)
end

-- Calls run(slice, amount) for slices from l.o to `last` that have something, until it returns true.
local function each(l, last, run)
  local from = l.o
  while l.u > 0 and from <= last do
    local to, fields = min(last, from + 63), {}
    for slice = from, to do fields[#fields + 1] = field(l, slice) end
    local got = redis.call('HMGET', key, unpack(fields))
    for i = 1, #fields do
      if got[i] and run(from + i - 1, tonumber(got[i]), fields[i]) then return end
    end
    from = to + 1
  end
end

-- Lets time pass: a window loses slices that are a window old, a bucket drains its oldest ones (up to `to`, if given).
local function advance(l, to)
  if l.t == 'w' then
    local first = floor(now / l.sl) - l.sp + 1
    if l.u > 0 and l.o < first then
      local dead, sum = {}, 0
      each(l, min(first - 1, l.n), function(_, amount, f)
        dead[#dead + 1], sum = f, sum + amount
      end)
      if #dead > 0 then redis.call('HDEL', key, unpack(dead)) end
      l.u, l.o = max(0, l.u - sum), first
    end
  elseif l.t == 'b' then
    local at = max(l.at, floor(min(now, to or now)))
    local drained = (at - l.at) * l.lim / l.win
    l.at = at
    if l.u > 0 and drained > 0 then
      local dead, pass, o, p = {}, drained + l.p, l.n + 1, 0
      each(l, l.n, function(slice, amount, f)
        if amount > pass then
          o, p = slice, pass
          return true
        end
        dead[#dead + 1], pass = f, pass - amount
      end)
      if #dead > 0 then redis.call('HDEL', key, unpack(dead)) end
      l.u, l.o, l.p = max(0, l.u - drained), o, p
      if o > l.n then l.u, l.p = 0, 0 end
    end
  end
end

-- Counts `amount` in `slice`, or takes it back where negative: what has left the slice cannot be taken back.
local function count(l, slice, amount)
  if l.t == 'w' then
    if slice > floor(now / l.sl) - l.sp then put(l, slice, amount) end
  elseif l.t == 'b' then
    if amount > 0 then
      put(l, max(slice, l.u > 0 and l.o or slice), amount)
    elseif l.u > 0 and slice >= l.o then
      local left = tonumber(redis.call('HGET', key, field(l, slice)) or 0)
      if slice == l.o then left = left - l.p end
      amount = -min(-amount, left)
      if amount < 0 then put(l, slice, amount) end
    end
  end
end

local function hold(l, id, amount)
  local had = l.h[id] or 0
  local has = max(0, had + amount)
  l.h[id] = has > 0 and has or nil
  l.H = max(0, l.H + has - had)
end

-- Processes that are gone have used what they held when their time was up.
local function bury(id, p)
  for _, l in pairs(s.limits) do
    local h = l.h[id]
    if h then
      hold(l, id, -h)
      if l.t == 'w' or l.t == 'b' then
        advance(l, p.x + l.mar)
        count(l, floor((p.x + l.mar) / l.sl), h)
      end
    end
  end
  s.procs[id] = nil
end

-- Combs of turns: l.c has those of processes that are far from the limit, each every c.s us from c.f to c.z.
local function isCombed(l, turn)
  for _, c in ipairs(l.c) do
    if turn >= c.f and turn <= c.z and (turn - c.f) % c.s == 0 then return true end
  end
end

-- The next turn that no comb has: beside combs on their grid, and as late as any turn may be used.
local function nextTurn(l, d)
  local us, tat = floor(now * 1000), l.tat or 0
  if not l.c then return us - tat <= 5000 and tat or us end
  local grid = l.c[1].f
  local turn = grid + math.ceil((max(tat, us - 5000) - grid) / d.iv) * d.iv
  -- Where all turns are in combs, none is free before one of them ends.
  if #l.c * d.iv >= l.c[1].s then
    local first = l.c[1].z
    for _, c in ipairs(l.c) do first = min(first, c.z) end
    turn = max(turn, first + d.iv)
  end
  while isCombed(l, turn) do turn = turn + d.iv end
  return turn
end

-- A comb is over: the turn after its last one is free.
local freed = false
local function uncomb(l, i, last)
  table.remove(l.c, i)
  if #l.c == 0 then l.c = nil end
  freed = true
  if last > 0 then l.tat = max(l.tat or 0, last + l.iv) end
end

local function dropCombs(l, d)
  local us = floor(now * 1000)
  for i = l.c and #l.c or 0, 1, -1 do
    local c = l.c[i]
    if d.home and c.i == m.id then uncomb(l, i, d.home)
    elseif c.z + 5000 < us or d.iv ~= l.iv then uncomb(l, i, c.z) end
  end
end

-- One turn of every d.comb for the next second, if nobody has turns ahead; nil if there are none to be had.
local function grantComb(l, d, turn)
  local us, step = floor(now * 1000), d.comb * d.iv
  if (l.tat or 0) > us + d.iv then return nil end
  for _, c in ipairs(l.c or {}) do
    if c.s ~= step or (turn - c.f) % step == 0 then return nil end
  end
  local g = max(1, floor(1000000 / step))
  l.c = l.c or {}
  l.c[#l.c + 1] = { i = m.id, f = turn, z = turn + (g - 1) * step, s = step }
  return g, step
end

-- When `amount` fits by time alone; nil where what is held is in the way.
local function fitsAt(l, d, amount)
  if l.t == 'l' then
    local at = (l.c and nextTurn(l, d) or l.tat or 0) + (amount - 1) * d.iv - d.tol
    if at <= floor(now * 1000) then return now end
    return max(now, (at + 1) / 1000)
  end
  -- What drains is a fraction, and the last digit of one is no reason to wait.
  local need = l.u + l.H + amount - l.lim - (l.t == 'b' and 1e-6 or 0)
  if need <= 0 then return now end
  if l.H + amount > l.lim or l.t == 'c' then return nil end
  if l.t == 'b' then return l.at + math.ceil(need * l.win / l.lim) end
  local at
  each(l, l.n, function(slice, amount)
    need = need - amount
    if need <= 0 then
      at = (slice + l.sp) * l.sl
      return true
    end
  end)
  return at
end

local function unknown() -- what a process has to know that Redis does not know any more
  if packed then redis.call('HSET', key, '=', cmsgpack.pack(s)) end
  return cjson.encode({ status = 'unknown', now = num(now), inc = s.inc })
end
local me = s.procs[m.id]
-- Its answer was lost. Nothing may have changed by then: what is not packed again does not go with the slices.
if me and me.q == m.n and me.x > now then return me.r end
local dead = {}
for id, p in pairs(s.procs) do
  if p.x <= now then dead[#dead + 1] = { id, p } end
end
-- The first to go first: a bucket takes nothing back from before its oldest slot.
table.sort(dead, function(a, b) return a[2].x < b[2].x or a[2].x == b[2].x and a[1] < b[1] end)
for _, d in ipairs(dead) do bury(d[1], d[2]) end
me = s.procs[m.id]
if m.hello then
  if m.knew and m.knew ~= s.inc then return unknown() end
elseif not me or me.q ~= m.n - 1 then return unknown() end
me = me or {}
s.procs[m.id] = me

-- What is reported.
local all = {}
for i, d in ipairs(m.L) do
  local l = s.limits[d.k]
  if not l then
    l = { k = d.k, t = d.t, u = 0, o = 0, n = 0, p = 0, H = 0, h = {}, at = floor(now) }
    s.limits[d.k] = l
  end
  if d.lim then
    l.lim, l.win, l.sl, l.sp, l.mar = d.lim, d.win, d.sl, d.sp, d.mar
  end
  if d.hold then hold(l, m.id, d.hold) end
  for _, event in ipairs(d.n or {}) do
    -- A bucket has drained what came a while ago, if nothing that drained instead is known yet.
    advance(l, event[3])
    count(l, event[1], event[2])
  end
  -- After a loss, what all have used within a window is more than a bucket can miss of it.
  if d.t == 'b' and now < (s.quiet or 0) then l.at = l.at - max(0, l.u + l.H - l.lim) * l.win / l.lim end
  advance(l)
  if d.b then hold(l, m.id, -d.b) end
  if d.iv then
    dropCombs(l, d)
    -- What has left already takes as long to make good as the rate in force says.
    local ahead = (l.tat or 0) - (l.moved or 0)
    if l.iv and l.iv ~= d.iv and ahead > 0 then l.tat = l.moved + math.ceil(ahead * d.iv / l.iv) end
    l.iv = d.iv
  end
  if d.tat then l.tat, l.moved = max(l.tat or 0, d.tat), l.moved or floor(now * 1000) end
  for _, pair in ipairs(d.undo or {}) do
    if l.tat == pair[2] then l.tat = pair[1] end
  end
  all[i] = l
end

-- Who waits besides, and what for: the one that has waited longest is not passed.
local first, others, before = nil, 0, {}
for id, p in pairs(s.procs) do
  if id ~= m.id and p.c and p.cx > now then
    others = others + 1
    if not first or p.c < s.procs[first].c then first = id end
    if not me.c or p.c < me.c then
      for k, w in pairs(p.w) do before[k] = (before[k] or 0) + w end
    end
  end
end

-- What is asked for: all limits or none.
local ok, known, wake, grants, turnCap = m.ask, true, now, {}, 1e9
if m.ask and (s.quiet or 0) > now then ok, wake = false, s.quiet end
if ok then
  for i, d in ipairs(m.L) do
    if d.min > 0 then
      local at = fitsAt(all[i], d, d.min + (before[d.k] or 0))
      if not at then ok, known = false, false
      elseif at > now + (d.hz or 0) then ok, wake = false, max(wake, at - (d.hz or 0)) end
    end
  end
end
if ok then
  for i, d in ipairs(m.L) do
    local l = all[i]
    if d.t ~= 'l' then
      local room = (l.t == 'c' and 0 or -l.u) + l.lim - l.H - (before[d.k] or 0)
      local g = min(d.max, floor(room + 1e-6))
      -- Beyond its share a process takes only a part of what is left, so that others can still come.
      if g > d.fair then g = max(d.fair, min(g, others > 0 and 0 or floor(room / 2))) end
      if d.soon then g = max(g, min(d.soon, floor(room + min(l.u, d.hz * l.lim / l.win) + 1e-6))) end
      g = max(d.min, g)
      if others == 0 and d.pre > 0 then g = g + max(0, min(d.pre, floor((room - g) * 0.05))) end
      -- What drains soon is promised: for when there is room for all that is held.
      grants[i] = { g, l.t == 'b' and fitsAt(l, d, g + (before[d.k] or 0)) or now }
      -- What is used at once is counted, not held: nobody has to report it.
      hold(l, m.id, g - (d.use or 0))
      if d.use then count(l, floor(now / l.sl), d.use) end
      if d.one then turnCap = min(turnCap, d.have + g) end
    end
  end
  for i, d in ipairs(m.L) do
    if d.t == 'l' then
      local l, g, us = all[i], 0, floor(now * 1000)
      local old, base, step = l.tat or 0, nextTurn(l, d), d.iv
      if d.min > 0 then
        local combed, every
        if d.comb and others == 0 then combed, every = grantComb(l, d, base) end
        g = 1
        while not combed and g < min(d.max, turnCap) and base + g * d.iv - d.tol <= us + d.hz * 1000
          and not (l.c and isCombed(l, base + g * d.iv)) do g = g + 1 end
        l.tat, l.moved = base + g * d.iv, us
        if combed then g, step = combed, every end
      end
      grants[i] = { g, base, old, step }
    end
  end
  -- When the next of the same size fits, if more wait.
  if m.more then
    for i, d in ipairs(m.L) do
      if d.t == 'l' or d.min > 0 then
        local at = fitsAt(all[i], d, max(1, d.min) + (before[d.k] or 0))
        if at then wake = max(wake, at - (d.hz or 0)) else known = false end
      end
    end
  end
end

-- Who needs more turns than are between combs calls those that have them.
local combs = false
for i, d in ipairs(m.L) do
  for _, c in ipairs(d.min > 0 and all[i].c or {}) do
    combs = combs or c.i ~= m.id and (not ok or m.more)
  end
end

-- What waits and was not granted has a claim, behind those that were there before.
local short = not ok
for i, d in ipairs(m.L) do
  if ok and m.more and d.min > 0 and grants[i][1] < d.max then short = true end
end

-- A claim stands until its process asks again, which it does when there should be room, or takes it back.
if m.ask or m.drop then me.c = m.ask and short and (ok and now or me.c or now) or nil end
if m.ask and me.c then
  me.cx, me.u = (known and wake or now + 2000) + 1500, not known
  me.w = {}
  for _, d in ipairs(m.L) do
    if d.min > 0 then me.w[d.k] = d.min end
  end
end

-- News: to the one that has waited longest if it can go now, and to all that hold what somebody waits for.
local news
if first and (s.quiet or 0) <= now and (freed or not s.told or now - s.told >= 1 or s.tell ~= first) then
  local fits, p = true, s.procs[first]
  local isBlind = p.u and not (me.c and me.c < p.c)
  for i, d in ipairs(m.L) do
    local w = p.w[d.k]
    local at = not w and now or fitsAt(all[i], d, w)
    -- After a comb the next turn is free, though it may be a little ahead: nobody would tell of it then. Who could not
    -- be told a time is told that there is one now.
    fits = fits and at ~= nil and (isBlind or at <= now + (freed and 50 or d.hz or 0))
  end
  if fits then news = first end
end
if not news and m.ask and combs and now - (s.called or 0) >= 20 then news = '*' end
if not news and m.ask and me.c and not known and now - (s.called or 0) >= 20 then
  for i, d in ipairs(m.L) do
    if d.min > 0 and all[i].H > (all[i].h[m.id] or 0) then news = '*' end
  end
end
if news then
  redis.call('PUBLISH', m.ch, news .. ' ' .. m.name)
  if news == '*' then s.called = now else s.told, s.tell = now, first end
end

local L = {}
for i, d in ipairs(m.L) do
  local l, g = all[i], grants[i] or { 0 }
  L[i] = { g[1], num(l.u), num(l.H - (l.h[m.id] or 0)), num(g[2] or 0), num(g[3] or 0), num(g[4] or 0) }
end
-- It is kept until nothing of it counts any more: a bucket may have more in it than drains within a window.
local keep = m.ttl * 2
for _, l in pairs(s.limits) do
  if l.t == 'l' then keep = max(keep, (l.tat or 0) / 1000 - now)
  elseif l.win then keep = max(keep, l.win * 1.2 * (l.t == 'b' and max(1, (l.u + l.H) / l.lim) or 1)) end
end
keep = floor(min(keep + m.ttl + 5000, 1e12))
me.q, me.x = m.n, now + m.ttl
me.r = cjson.encode({
  status = 'ok', now = num(now), inc = s.inc, ok = ok or false, others = others, claim = me.c ~= nil,
  wait = known and num(wake - now) or '-1', keep = keep, L = L,
})
redis.call('HSET', key, '=', cmsgpack.pack(s))
redis.call('PEXPIRE', key, keep)
return me.r
