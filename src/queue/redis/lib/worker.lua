-- Workers: name -> "incarnation slots joined_ms completed failed lost host", and their signs of life.
local PRESENCE_MS = 2000 -- silent for longer: lost
local OUTAGE_MS = 1400   -- nobody was heard for so long: the server itself was away
local LOSS_MS = 10       -- between two losses, so that many at once do not hold up the others
local TOUCH_MS = 200     -- signs of life are not written down more often
local NEW_MS = 8000      -- who has joined and holds nothing may be silent for so much longer

local function read_worker(name)
    local text = call('HGET', WORKERS, name)
    if not text then
        return nil
    end
    local w = {}
    w.incarnation, w.slots, w.joined_ms, w.completed, w.failed, w.lost, w.host =
        string.match(text, '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) ?(.*)$')
    w.slots, w.completed, w.failed, w.lost =
        tonumber(w.slots), tonumber(w.completed), tonumber(w.failed), tonumber(w.lost)
    return w
end

local function write_worker(name, w)
    call('HSET', WORKERS, name, table.concat({w.incarnation, int(w.slots), w.joined_ms,
         int(w.completed), int(w.failed), int(w.lost), w.host}, ' '))
end

local function touch(name)
    local ago = now - tonumber(call('ZSCORE', ALIVE, name) or 0)
    if ago >= TOUCH_MS or ago < 0 then
        call('ZADD', ALIVE, int(now), name)
    end
end

-- Workers that were lost are remembered: should one come back while another has its name, it is too
-- late; and whoever started it may still tell of what it died.
local GONE_MAX = 64

local function remember_loss(name, w, charged)
    local key = name .. ' ' .. w.incarnation
    call('ZADD', GONE, int(now), key)
    call('HSET', CHARGED, key, table.concat(charged, ' '))
    local more = call('ZCARD', GONE) - GONE_MAX
    local old = more > 0 and call('ZPOPMIN', GONE, more) or {}
    for i = 1, #old, 2 do
        call('HDEL', CHARGED, old[i])
    end
end

local function loss_text(name, reason)
    return 'worker ' .. name .. ' was lost: ' .. reason
end

local function forget_worker(name)
    call('HDEL', WORKERS, name)
    call('HDEL', HELD, name)
    call('HDEL', RENEWED, name)
    call('HDEL', BULK, name)
    call('ZREM', BULKED, name)
    call('ZREM', ALIVE, name)
end

-- A worker is gone: the `slots` oldest leases had started and are charged.
local function lose(name, w, reason)
    local leases, charged = leases_of(name), {}
    for i, l in ipairs(leases) do
        reclaim(l[1], l[2], l[3], name, i <= w.slots, loss_text(name, reason))
        charged[i] = i <= w.slots and int(l[1]) or nil
    end
    job.workers_lost = job.workers_lost + 1
    event('worker.lost', nil, name, nil, #leases, reason)
    forget_worker(name)
    remember_loss(name, w, charged)
    finish_if_done()
    return #leases
end

-- The server's clock was set back: what was to come a second later comes a second later.
local function follow_clock(gap)
    job.audit_ms, job.steal_ms = math.min(job.audit_ms, now), math.min(job.steal_ms, now)
    local due = call('ZRANGE', DELAY, 0, -1, 'WITHSCORES')
    for i = 1, #due, 2 do
        call('ZADD', DELAY, int(due[i + 1] + gap), due[i])
    end
end

-- Who was silent too long is lost: one worker a call, so that nothing stalls.
local function check_presence()
    local gap = now - job.seen_ms
    if gap < 0 then
        follow_clock(gap)
    end
    if gap > OUTAGE_MS or gap < 0 then
        job.seen_ms, job.grace_ms = forgive_outage(job.seen_ms)
    elseif gap >= TOUCH_MS then
        job.seen_ms = now
    end
    if now < job.grace_ms then
        return
    end
    local silent = call('ZRANGEBYSCORE', ALIVE, '-inf', int(now - PRESENCE_MS), 'LIMIT', 0, 1)
    if #silent > 0 then
        local w = read_worker(silent[1])
        if w then
            lose(silent[1], w, 'silent for more than ' .. PRESENCE_MS .. ' ms')
            job.grace_ms = now + LOSS_MS
        else
            call('ZREM', ALIVE, silent[1])
        end
    end
end

-- The worker that calls. Returns it, or nil and the error.
local function caller()
    local w = read_worker(ARGV[2])
    if not w then
        return nil, fail('LOST worker ' .. ARGV[2] .. ' has not joined, or was lost; join again')
    end
    if w.incarnation ~= ARGV[3] then
        return nil, fail('REPLACED a newer worker is called ' .. ARGV[2])
    end
    touch(ARGV[2])
    return w
end
