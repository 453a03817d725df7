-- job worker incarnation COUNT n
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

-- Who looks in vain now and then checks for chunks that fell between all chairs: leases of plain
-- clients that ran out, and entries that one of them acknowledged without a result.
local function audit()
    if now - job.audit_ms < 1000 then
        return
    end
    job.audit_ms = now
    for _, entry in ipairs(call('XRANGE', TASKS, '-', '+', 'COUNT', SLICE)) do
        local chunk = chunk_of(entry[1])
        if chunk and not call('HEXISTS', LEASE, int(chunk)) then
            local pending = call('XPENDING', TASKS, GROUP, entry[1], entry[1], 1)[1]
            local groups = call('XINFO', 'GROUPS', TASKS)
            local delivered
            for i = 1, #groups[1], 2 do
                if groups[1][i] == 'last-delivered-id' then
                    delivered = chunk_of(groups[1][i + 1])
                end
            end
            if pending and pending[3] >= job.stale_ms then
                event('lease.expired', chunk, pending[2])
                call('HSET', P .. 'loss', int(chunk), int(now) .. ' ' .. pending[2])
                give_back(chunk, '0', 0, pending[2], true, 'lease expired')
            elseif not pending and delivered and chunk <= delivered then
                give_back(chunk, '0', 0, '', true, 'acknowledged without a result')
            end
        end
    end
end

-- Free slots, and beyond them a share that shrinks as the job runs out.
local held = tonumber(call('HGET', HELD, name) or 0)
local rest = job.chunks - job.delivered + call('LLEN', READY)
local share = floor(rest / (2 * math.max(1, call('ZCARD', ALIVE))))
local want = math.min(tonumber(ARGV[5]), math.max(w.slots - held, share), SLICE)
feed(SLICE)

local runs, leases, taken = {0}, {}, 0
local last_chunk, last_attempt
local function grant(chunk, attempts)
    local epoch = math.max(job.epoch + 1, now * 1000)
    local follows = chunk - 1 == last_chunk and epoch == job.epoch + 1 and
                    attempts + 1 == last_attempt
    if follows then
        runs[#runs - 2] = runs[#runs - 2] + 1
    else
        local n = #runs
        runs[n + 1], runs[n + 2], runs[n + 3], runs[n + 4] = int(chunk), 1, int(epoch), attempts + 1
    end
    last_chunk, last_attempt, job.epoch = chunk, attempts + 1, epoch
    leases[#leases + 1] = int(chunk)
    leases[#leases + 1] = int(epoch) .. ' ' .. int(attempts) .. ' ' .. name
    taken = taken + 1
end

if want > 0 then
    for _, text in ipairs(call('LPOP', READY, want) or {}) do
        local chunk = tonumber(text)
        local _, attempts, holder = read_lease(call('HGET', LEASE, text))
        if attempts and holder == '' and is_open(chunk) then
            call('XCLAIM', TASKS, GROUP, name, 0, id_of(chunk), 'FORCE', 'JUSTID')
            local loss = call('HGET', P .. 'loss', text)
            if loss then
                local at, from = string.match(loss, '^(%d+) (.*)$')
                job.reclaimed = job.reclaimed + 1
                event('chunk.reclaimed', chunk, from, name, now - at)
                call('HDEL', P .. 'loss', text)
            end
            grant(chunk, attempts)
        end
    end
end
if want > taken then
    local read = call('XREADGROUP', 'GROUP', GROUP, name, 'COUNT', want - taken, 'STREAMS', TASKS, '>')
    if read then
        for _, entry in ipairs(read[1][2]) do
            local chunk = chunk_of(entry[1])
            if chunk then
                grant(chunk, 0)
                job.delivered = chunk + 1
            else -- not ours: somebody else's entry in our stream
                call('XACK', TASKS, GROUP, entry[1])
            end
        end
    end
end
if taken > 0 then
    call_sliced(leases, 'HSET', LEASE)
    call('HINCRBY', HELD, name, taken)
    if job.started_ms == 0 then
        job.started_ms = now
    end
elseif want > 0 then
    audit()
    finish_if_done()
end
close()
runs[1] = job.state
return runs
