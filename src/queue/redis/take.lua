-- uses: job decimal range bulk lease worker result
-- job worker incarnation COUNT n [... LOOK ms] [SOON n]
local AUDIT_MS, AUDIT_MAX, STEAL_MS = 1000, 10000, 100
local look_ms, soon = 30000, 0
for i = 6, #ARGV, 2 do
    look_ms = ARGV[i] == 'LOOK' and tonumber(ARGV[i + 1]) or look_ms
    soon = ARGV[i] == 'SOON' and tonumber(ARGV[i + 1]) or soon
end
if not open() then
    return no_job()
end
local w, refused = caller()
if not w then
    return refused
end
local name = ARGV[2]
check_presence()
absorb()
local due = call('ZRANGEBYSCORE', DELAY, '-inf', int(now), 'LIMIT', 0, SLICE)
if #due > 0 then
    call('ZREM', DELAY, unpack(due))
    call('RPUSH', READY, unpack(due))
end
if job.state ~= 0 then
    close()
    return {job.state}
end

-- Free slots, and beyond them a share that shrinks as the job runs out, but not below what is over
-- `soon`: else most calls come for the last few chunks, one by one.
local held = tonumber(call('HGET', HELD, name) or 0)
local rest = job.chunks - job.delivered + call('LLEN', READY)
local share = floor(rest / (2 * math.max(1, call('ZCARD', ALIVE))))
local free = w.slots - held
local want = math.min(tonumber(ARGV[5]), math.max(free, share, soon), SLICE)
local refusal = feed(SLICE)

local runs, leases, taken = {0}, {}, 0
local last_chunk, last_attempts, last_epoch
local now_us = clock[1] * 1000000 + clock[2] + job.skip_us
local run = -1
local tails = {} -- of lease records, by attempts
local function grant(chunk, attempts)
    -- By the time, so that it also grows when the server lost its newest data.
    local epoch = job.epoch + 1
    if epoch < now_us then
        epoch = now_us
    end
    job.epoch = epoch
    if chunk - 1 == last_chunk and attempts == last_attempts and epoch == last_epoch + 1 then
        runs[run] = runs[run] + 1
    else
        run = run + 4 -- index of its count
        runs[run - 1], runs[run], runs[run + 1], runs[run + 2] =
            int(chunk), 1, int(epoch), attempts + 1
    end
    last_chunk, last_attempts, last_epoch = chunk, attempts, epoch
    local tail = tails[attempts]
    if not tail then
        tail = ' ' .. int(attempts) .. ' ' .. name
        tails[attempts] = tail
    end
    leases[2 * taken + 1] = format('%d', chunk)
    leases[2 * taken + 2] = format('%d', epoch) .. tail
    taken = taken + 1
end

-- Chunks that came back.
local function take_ready()
    for _, text in ipairs(call('LPOP', READY, want) or {}) do
        local chunk = tonumber(text)
        local _, attempts, holder = read_lease(call('HGET', LEASE, text))
        if holder == '' then
            call('XCLAIM', TASKS, GROUP, name, 0, id_of(chunk), 'FORCE', 'JUSTID')
            local loss = call('HGET', LOSS, text)
            if loss then
                local at, from = string.match(loss, '^(%d+) (.*)$')
                job.reclaimed = job.reclaimed + 1
                event('chunk.reclaimed', chunk, from, name, math.max(0, now - at))
                call('HDEL', LOSS, text)
            end
            grant(chunk, attempts)
        end
    end
end

-- Neighbours that nobody had, the usual case.
local function grant_run(from, to)
    if from > job.delivered then
        deliver(from) -- what lies between, plain clients have read
    end
    job.delivered = to + 1
    for chunk = from, to do
        grant(chunk, 0)
    end
end

local function take_fresh_one(id)
    local chunk = chunk_of(id)
    if not chunk then -- somebody else's entry
        call('XACK', TASKS, GROUP, id)
    elseif chunk >= job.delivered then
        grant_run(chunk, chunk)
    else -- the group was set back
        local _, attempts, holder = read_lease(call('HGET', LEASE, int(chunk)))
        if holder == FOREIGN then
            grant(chunk, attempts)
        end
    end
end

-- Many neighbours that nobody had, without reading their entries.
local function take_bulk(count)
    local from, to = job.delivered, math.min(job.fed, job.delivered + count) - 1
    if to - from + 1 < BULK_MIN or last_delivered() ~= (from > 0 and id_of(from - 1) or '0-0') then
        return false
    end
    -- Redis 7 wants to know how many entries that makes; before there was no such word.
    local moved = redis.pcall('XGROUP', 'SETID', TASKS, GROUP, id_of(to), 'ENTRIESREAD', int(to + 1))
    if moved.err then
        call('XGROUP', 'SETID', TASKS, GROUP, id_of(to))
    end
    grant_run(from, to)
    note_bulk(name, from, to - from + 1, job.epoch - (to - from))
    return true
end

local function take_fresh(count)
    if take_bulk(count) then
        return
    end
    local read = call('XREADGROUP', 'GROUP', GROUP, name, 'COUNT', count, 'STREAMS', TASKS, '>')
    local entries = read and read[1][2] or {}
    local from = #entries > 0 and chunk_of(entries[1][1])
    local to = #entries > 0 and chunk_of(entries[#entries][1])
    if from and to and from >= job.delivered and to - from == #entries - 1 then
        grant_run(from, to)
    else
        for i = 1, #entries do
            take_fresh_one(entries[i][1])
        end
    end
    if #entries < count and job.delivered < job.fed then
        deliver(job.fed)
    end
end

-- Prefetched leases of a worker that has more than it can run, the newest first.
local function steal()
    if free <= 0 or now - job.steal_ms < STEAL_MS then
        return
    end
    job.steal_ms = now
    local all, victim, most = call('HGETALL', HELD), nil, 0
    for i = 1, #all, 2 do
        local other = all[i] ~= name and tonumber(all[i + 1]) > most and read_worker(all[i])
        if other and tonumber(all[i + 1]) - other.slots > most then
            victim, most = all[i], tonumber(all[i + 1]) - other.slots
        end
    end
    local theirs = victim and leases_of(victim) or {}
    local old = (now - STEAL_MS) * 1000 + job.skip_us -- epochs begin with the time
    local last = math.max(#theirs - math.min(want, most), 0)
    for i = #theirs, last + 1, -1 do
        if tonumber(theirs[i][2]) < old then
            local chunk = theirs[i][1]
            call('XCLAIM', TASKS, GROUP, name, 0, id_of(chunk), 'FORCE', 'JUSTID')
            call('HINCRBY', HELD, victim, -1)
            grant(chunk, theirs[i][3])
            job.stolen = job.stolen + 1
            event('chunk.stolen', chunk, victim, name)
        end
    end
end

-- Who looks in vain, and others less often, checks for chunks that fell between all chairs: leases of plain
-- clients that ran out, entries that they acknowledged without a result or deleted, and leases of
-- workers that are gone.
local function audit_one(text, record)
    local epoch, attempts, holder = read_lease(record)
    local chunk = tonumber(text)
    if not chunk or holder == '' then
        return
    end
    if holder ~= FOREIGN then
        if call('HEXISTS', WORKERS, holder) == 0 then
            reclaim(chunk, epoch, attempts, holder, true, 'worker ' .. holder .. ' is gone')
        end
        return
    end
    local id = id_of(chunk)
    local pending = call('XPENDING', TASKS, GROUP, id, id, 1)[1]
    if not pending then
        give_back(chunk, epoch, attempts, '', true, 'acknowledged without a result')
    elseif pending[3] >= job.stale_ms then
        event('lease.expired', chunk, pending[2])
        reclaim(chunk, epoch, attempts, pending[2], true,
                'the lease of ' .. pending[2] .. ' expired')
    end
end

local function audit(pause_ms)
    if now - job.audit_ms < pause_ms then
        return
    end
    job.audit_ms = now
    local seen = 0
    repeat
        local page = call('HSCAN', LEASE, int(job.audit_at), 'COUNT', SLICE)
        for i = 1, #page[2], 2 do
            audit_one(page[2][i], page[2][i + 1])
        end
        seen = seen + #page[2] / 2
        job.audit_at = tonumber(page[1])
    until job.audit_at == 0 or seen >= AUDIT_MAX
end

if want > 0 then
    take_ready()
    if want > taken then
        take_fresh(want - taken)
    end
    audit(taken == 0 and math.min(AUDIT_MS, look_ms) or look_ms)
    if taken == 0 then
        take_ready()
    end
    if taken == 0 then
        steal()
    end
end
if taken > 0 then
    call_sliced(leases, 'HSET', LEASE)
    call('HINCRBY', HELD, name, taken)
    if job.started_ms == 0 then
        job.started_ms = now
    end
else
    finish_if_done()
end
close()
if taken == 0 and refusal then
    return refusal
end
runs[1] = job.state
return runs
