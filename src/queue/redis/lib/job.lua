-- The job itself. Each script is the files that its `uses:` line names, then its own text; it takes
-- the words of the TTG.* command of the same name (docs/protocol.md) and gives the same answer.
-- KEYS[1] is the job's hash; all other keys of a job have the same prefix, and so the same hash slot
-- on a cluster. What lies in which key: docs/redis.md.
--
-- A chunk below `delivered` is open as long as it has a record in `lease`; one above is fresh. So the
-- done set needs no memory of its own. Numbers stay below 2^53, where Lua's are exact; parameters
-- beyond are added up as decimals.
--
-- An error in the middle would leave half of the work behind: what may be refused comes first.
local call, format, floor = redis.call, string.format, math.floor
local JOB, GROUP = KEYS[1], 'ttg-workers'
local P = string.sub(JOB, 1, -4)
local TASKS, RESULTS, LEASE, READY = P .. 'tasks', P .. 'results', P .. 'lease', P .. 'ready'
local DELAY, DEAD, WHY, WORKERS = P .. 'delay', P .. 'dead', P .. 'why', P .. 'workers'
local ALIVE, HELD, EVENTS, DIGEST = P .. 'alive', P .. 'held', P .. 'events', P .. 'digest'
local LOSS, GONE, RECENT, GARBAGE = P .. 'loss', P .. 'gone', P .. 'recent', P .. 'garbage'
local RENEWED, CHARGED, BULK, BULKED = P .. 'renewed', P .. 'charged', P .. 'bulk', P .. 'bulked'
local HISTORY = P .. 'history'
-- KEYS[2] is no key: it ends with what names the server's run and role (redis-failover.md).
local SERVER = KEYS[2] and string.sub(KEYS[2], #P + 2)
local SLICE = 2000 -- arguments of one call, entries of one look
local clock = call('TIME')
local now = clock[1] * 1000 + floor(clock[2] / 1000)
local STATES = {'running', 'paused', 'finished', 'canceled'}
local job -- fields that `open` read

local function int(n)
    return format('%d', n)
end

local function fail(text)
    return redis.error_reply(text)
end

local NUMBERS = {'state', 'created_ms', 'chunks', 'fed', 'window', 'completed', 'dead', 'dropped',
                 'epoch', 'attempts', 'reclaimed', 'stale_dropped', 'failures', 'released',
                 'result_count', 'trimmed', 'seen_ms', 'grace_ms', 'started_ms', 'workers_lost',
                 'max_attempts', 'delivered', 'finished_ms', 'event_seq', 'audit_ms', 'redriven',
                 'stale_ms', 'stolen', 'steal_ms', 'audit_at', 'skip_us', 'littered'}
-- `absorbed`: id of the newest result that is accounted for.
local TEXTS = {'first', 'chunk_params', 'last_count', 'absorbed', 'foreign', 'server'}
local FIELDS, before = {}, nil
for i, name in ipairs(NUMBERS) do
    FIELDS[i] = name
end
for i, name in ipairs(TEXTS) do
    FIELDS[#NUMBERS + i] = name
end
local RESULT_COUNT, ABSORBED -- where in FIELDS
for i, name in ipairs(FIELDS) do
    RESULT_COUNT = name == 'result_count' and i or RESULT_COUNT
    ABSORBED = name == 'absorbed' and i or ABSORBED
end

-- While the server was away nobody could be heard: the time does not count against anybody, but the
-- silence before it does, less what a living worker may have been silent then. So who died is missed
-- soon, and not all are missed at the same time. Where the server had been up for a short time, all
-- this is as much shorter: else nobody would be missed as long as it dies again and again.
local GRACE_MS, JITTER_MS = 1000, 300 -- nobody is lost so soon; nobody as fast as the others
local CREDIT_MS = 700                 -- longer than between two signs of life
local STEADY_MS = 4000                -- after so long: all of it
local LONGEST_MS = 3000               -- who was silent for longer is lost already

local function forgive_outage(seen_ms)
    local up_ms = seen_ms - tonumber(call('HGET', JOB, 'up_ms') or 0)
    local part = math.min(1, math.max(0, up_ms) / STEADY_MS)
    local alive = call('ZRANGE', ALIVE, 0, -1, 'WITHSCORES')
    for i = 1, #alive, 2 do
        local silence = math.max(0, seen_ms - tonumber(alive[i + 1]) - part * CREDIT_MS)
        if now < seen_ms and silence > LONGEST_MS then
            silence = 0 -- a sign of life since the clock was set back
        end
        call('ZADD', ALIVE, int(now - silence + part * math.random(0, JITTER_MS)), alive[i])
    end
    call('HSET', JOB, 'up_ms', int(now))
    return now, now + floor(part * GRACE_MS) -- seen_ms, grace_ms
end

-- Another server than before: a replica that was promoted, a restart, a moved slot. It may have lost
-- the newest changes. So here a new generation begins: its epochs come from a range of their own,
-- everybody gets time to come back, and who has read results finds out here how many of his are
-- still true (src/queue/history.h).
local HOUR_US, HISTORY_MAX = 3600000000, 64
local outdated = false -- who calls has a connection from before the server's newest start or role

local function begin_generation(absorbed, result_count)
    local known = call('LRANGE', HISTORY, 0, -1)
    local run, other_role = string.sub(SERVER, 1, 8), false
    for i = 1, #known do
        local id = string.match(known[i], '^%d+ (%S+)')
        if id == SERVER then
            outdated = other_role
            break
        end
        other_role = other_role or string.sub(id, 1, 8) == run
    end
    if outdated then
        return false
    end
    local generation = #known > 0 and string.match(known[1], '^%d+') + 1 or 1
    local newest = call('XREVRANGE', RESULTS, absorbed, '-', 'COUNT', 1)[1]
    local chunk = '-1'
    for i = 1, newest and #newest[2] or 0, 2 do
        if newest[2][i] == 'chunk_id' then
            chunk = newest[2][i + 1]
        end
    end
    call('LPUSH', HISTORY, table.concat({int(generation), SERVER, absorbed, int(result_count),
                                         chunk}, ' '))
    call('LTRIM', HISTORY, 0, HISTORY_MAX - 1)
    local skip = 0
    if generation > 1 then -- in part by chance: a lost generation may have had the same number
        skip = generation * HOUR_US + tonumber(string.sub(redis.sha1hex(SERVER), 1, 7), 16)
    end
    call('HSET', JOB, 'server', SERVER, 'skip_us', int(skip))
    if generation > 1 then
        -- By the stored time, since the clock here may be another one.
        local seen, grace = forgive_outage(tonumber(call('HGET', JOB, 'seen_ms') or 0))
        call('HSET', JOB, 'seen_ms', int(seen), 'grace_ms', int(grace))
    end
    return true
end

-- Reads the job. False when there is none.
local open
function open()
    before = call('HMGET', JOB, unpack(FIELDS))
    if not before[1] then
        return false
    end
    if SERVER and before[#FIELDS] ~= SERVER then
        return begin_generation(before[ABSORBED], tonumber(before[RESULT_COUNT] or 0)) and open()
    end
    job = {}
    for i = 1, #NUMBERS do
        job[NUMBERS[i]] = tonumber(before[i] or 0)
    end
    for i = 1, #TEXTS do
        job[TEXTS[i]] = before[#NUMBERS + i]
    end
    job.front = int(job.created_ms) .. '-' -- of the ids of our tasks
    return true
end

-- Writes back what changed.
local function close()
    local out, n = {}, 0
    for i = 1, #FIELDS do
        local name = FIELDS[i]
        local value = job[name]
        if i <= #NUMBERS then
            if value ~= tonumber(before[i] or 0) then
                out[n + 1], out[n + 2] = name, int(value)
                n = n + 2
            end
        elseif value ~= before[i] then
            out[n + 1], out[n + 2] = name, value
            n = n + 2
        end
    end
    if n > 0 then
        call('HSET', JOB, unpack(out))
    end
end

local function no_job()
    if outdated then
        return fail('OUTDATED the server was restarted or promoted since this connection was made')
    end
    return fail('NOJOB there is no job ' .. ARGV[1])
end

-- call(command, key, [group,] ...) with a long list, a slice at a time.
local function call_sliced(list, command, key, group)
    for at = 1, #list, SLICE do
        local to = math.min(at + SLICE - 1, #list)
        if group then
            call(command, key, group, unpack(list, at, to))
        else
            call(command, key, unpack(list, at, to))
        end
    end
end

local function id_of(chunk)
    return job.front .. format('%d', chunk + 1)
end

-- Nil for an entry that is none of ours.
local function chunk_of(id)
    local front = job.front
    local seq = string.sub(id, 1, #front) == front and tonumber(string.sub(id, #front + 1))
    return seq and seq > 0 and seq <= job.chunks and seq - 1 or nil
end

local function event(name, chunk, from, to, value, text)
    job.event_seq = job.event_seq + 1
    call('XADD', EVENTS, 'MAXLEN', '~', 1024, '0-' .. int(job.event_seq), 'at_ms', int(now),
         'event', name, 'chunk', chunk and int(chunk) or '-1', 'from', from or '', 'to', to or '',
         'value', int(value or 0), 'text', string.sub(text or '', 1, 500))
end

-- Entries of done chunks that are still there; those of dead letters stay.
local function remove_closed()
    local from = '-'
    repeat
        local page = call('XRANGE', TASKS, from, '+', 'COUNT', SLICE)
        for _, entry in ipairs(page) do
            local chunk = chunk_of(entry[1])
            from = '(' .. entry[1]
            if not chunk or not call('ZSCORE', DEAD, int(chunk)) then
                call('XDEL', TASKS, entry[1])
            end
        end
    until #page < SLICE
    call('DEL', GARBAGE)
    job.littered = 0
end

local function finish_if_done()
    if job.state <= 1 and job.completed + job.dead + job.dropped >= job.chunks then
        job.state = 2
        job.finished_ms = now
        event('job.finished', nil, nil, nil, job.dead)
        remove_closed()
    end
end
