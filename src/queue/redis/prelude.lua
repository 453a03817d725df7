-- What all scripts share. Each one is this text followed by its own file, takes the words of the
-- TTG.* command of the same name (docs/protocol.md) and gives the same answer. KEYS[1] is the job's
-- hash; all other keys of a job have the same prefix, and so the same hash slot on a cluster.
--
-- A chunk is open as long as its entry is in the task stream: what was fed and is not there is done.
--   lease   hash   chunk -> "epoch attempts worker"; no worker: it waits in `ready` or `delay`
--   ready   list   chunks to be taken again;   delay  zset  the same with the time they are due
--   dead    zset   chunk -> time;              why    hash  chunk -> its failures, as JSON
--   workers hash   name -> "incarnation slots joined_ms completed failed lost"
--   alive   zset   name -> last sign of life;  held   hash  name -> leases
-- Numbers stay below 2^53, where Lua's are exact; parameters beyond are added up as decimals.
local call, format, floor = redis.call, string.format, math.floor
local JOB, GROUP = KEYS[1], 'ttg-workers'
local P = string.sub(JOB, 1, -4)
local TASKS, RESULTS, LEASE, READY = P .. 'tasks', P .. 'results', P .. 'lease', P .. 'ready'
local DELAY, DEAD, WHY, WORKERS = P .. 'delay', P .. 'dead', P .. 'why', P .. 'workers'
local ALIVE, HELD, EVENTS, DIGEST = P .. 'alive', P .. 'held', P .. 'events', P .. 'digest'
local SLICE = 1000 -- arguments of one call, entries of one look
local PRESENCE_MS, GRACE_MS = 2000, 3000
local clock = call('TIME')
local now = clock[1] * 1000 + floor(clock[2] / 1000)
local job -- fields that `open` read

local function int(n)
    return format('%.0f', n)
end

local function fail(text)
    return redis.error_reply(text)
end

local NUMBERS = {'state', 'created_ms', 'chunks', 'fed', 'window', 'completed', 'dead', 'dropped',
                 'epoch', 'attempts', 'reclaimed', 'stale_dropped', 'failures', 'released',
                 'result_count', 'trimmed', 'params', 'seen_ms', 'grace_ms', 'started_ms',
                 'workers_lost', 'max_attempts', 'last_count', 'delivered', 'finished_ms',
                 'event_seq', 'audit_ms', 'redriven', 'stale_ms', 'chunk_params'}

-- Reads the job. False when there is none.
local function open()
    local values = call('HMGET', JOB, unpack(NUMBERS))
    if not values[1] then
        return false
    end
    job = {}
    for i, name in ipairs(NUMBERS) do
        job[name] = tonumber(values[i] or 0)
    end
    job.was = {}
    for name, value in pairs(job) do
        job.was[name] = value
    end
    return true
end

-- Writes back what changed.
local function close()
    local out, n = {}, 0
    for _, name in ipairs(NUMBERS) do
        if job[name] ~= job.was[name] then
            out[n + 1], out[n + 2] = name, int(job[name])
            n = n + 2
        end
    end
    if n > 0 then
        call('HSET', JOB, unpack(out))
    end
end

local function no_job()
    return fail('NOJOB there is no job ' .. ARGV[1])
end

-- call(...) with a long list, a slice at a time.
local function call_sliced(list, ...)
    local head = {...}
    local at = 1
    while at <= #list do
        local words = {}
        for i = 1, #head do
            words[i] = head[i]
        end
        for i = at, math.min(at + SLICE - 1, #list) do
            words[#words + 1] = list[i]
        end
        call(unpack(words))
        at = at + SLICE
    end
end

local function id_of(chunk)
    return int(job.created_ms) .. '-' .. int(chunk + 1)
end

local function chunk_of(id)
    local seq = string.match(id, '^' .. int(job.created_ms) .. '%-(%d+)$')
    return seq and seq - 1
end

local function name_of(chunk)
    local text = int(chunk)
    return string.rep('0', 5 - #text) .. text
end

-- "2026-02-09T10:00:12Z"
local function instant(ms)
    local s = floor(ms / 1000)
    local days = floor(s / 86400) + 719468
    local era = floor(days / 146097)
    local doe = days % 146097
    local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
    local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
    local mp = floor((5 * doy + 2) / 153)
    local month = mp < 10 and mp + 3 or mp - 9
    local year = yoe + era * 400 + (month <= 2 and 1 or 0)
    return format('%04d-%02d-%02dT%02d:%02d:%02dZ', year, month,
                  doy - floor((153 * mp + 2) / 5) + 1, floor(s % 86400 / 3600),
                  floor(s % 3600 / 60), s % 60)
end

-- Decimal arithmetic for parameters beyond 2^53: digits in groups of seven, lowest first.
local function limbs(text)
    local out = {}
    for i = #text, 1, -7 do
        out[#out + 1] = tonumber(string.sub(text, math.max(1, i - 6), i))
    end
    return out
end

local function limbs_text(a)
    local out = {}
    for i = #a, 1, -1 do
        out[#out + 1] = format(#out == 0 and '%d' or '%07d', a[i])
    end
    local text = string.gsub(table.concat(out), '^0+(%d)', '%1')
    return text
end

local function limbs_less(a, b)
    for i = math.max(#a, #b), 1, -1 do
        local x, y = a[i] or 0, b[i] or 0
        if x ~= y then
            return x < y
        end
    end
    return false
end

local function limbs_add(a, b, sign)
    local out, carry = {}, 0
    for i = 1, math.max(#a, #b) + 1 do
        local v = (a[i] or 0) + sign * (b[i] or 0) + carry
        carry = floor(v / 10000000)
        out[i] = v - carry * 10000000
    end
    return out
end

local function limbs_multiply(a, b)
    local out = {}
    for i = 1, #a + #b + 1 do
        out[i] = 0
    end
    for i = 1, #a do
        local carry = 0
        for k = 1, #b + 1 do
            local v = out[i + k - 1] + a[i] * (b[k] or 0) + carry
            carry = floor(v / 10000000)
            out[i + k - 1] = v - carry * 10000000
        end
    end
    return out
end

-- base + offset, all texts; offset is not negative.
local function decimal_add(base, offset)
    if string.sub(base, 1, 1) ~= '-' then
        return limbs_text(limbs_add(limbs(base), offset, 1))
    end
    local a = limbs(string.sub(base, 2))
    if limbs_less(offset, a) then
        return '-' .. limbs_text(limbs_add(a, offset, -1))
    end
    return limbs_text(limbs_add(offset, a, -1))
end

local SMALL = 4503599627370496
local first_text, first_number

local function need_first()
    if not first_text then
        first_text = call('HGET', JOB, 'first')
        first_number = tonumber(first_text)
    end
end

local function params_in(chunk)
    return chunk == job.chunks - 1 and job.last_count or job.chunk_params
end

-- First and last parameter of a chunk, as texts.
local function range(chunk)
    need_first()
    local count = params_in(chunk)
    local offset = chunk * job.chunk_params
    if math.abs(first_number) < SMALL and offset + count < SMALL then
        return int(first_number + offset), int(first_number + offset + count - 1)
    end
    local from = limbs_multiply(limbs(int(chunk)), limbs(call('HGET', JOB, 'chunk_params')))
    local more = limbs(chunk == job.chunks - 1 and call('HGET', JOB, 'last_count') or
                       call('HGET', JOB, 'chunk_params'))
    return decimal_add(first_text, from),
           decimal_add(first_text, limbs_add(limbs_add(from, more, 1), {1}, -1))
end

local function event(name, chunk, from, to, value, text)
    job.event_seq = job.event_seq + 1
    call('XADD', EVENTS, 'MAXLEN', '~', 1024, '0-' .. int(job.event_seq), 'at_ms', int(now),
         'event', name, 'chunk', chunk and int(chunk) or '-1', 'from', from or '', 'to', to or '',
         'value', int(value or 0), 'text', string.sub(text or '', 1, 500))
end

-- Tops the window up, a slice at a time.
local function feed(limit)
    local room = job.window - (job.fed - job.completed - job.dead - job.dropped)
    local count = math.min(room, limit, job.chunks - job.fed)
    if count <= 0 then
        return
    end
    local at = instant(job.created_ms)
    for chunk = job.fed, job.fed + count - 1 do
        local from, to = range(chunk)
        call('XADD', TASKS, id_of(chunk), 'chunk_id', name_of(chunk), 'start_param', from,
             'end_param', to, 'total_in_chunk', int(params_in(chunk)), 'created_at', at)
    end
    job.fed = job.fed + count
end

local function finish_if_done()
    if job.state <= 1 and job.completed + job.dead + job.dropped >= job.chunks then
        job.state = 2
        job.finished_ms = now
        event('job.finished', nil, nil, nil, job.dead)
    end
end

local function read_lease(text)
    if not text then
        return nil
    end
    local epoch, attempts, worker = string.match(text, '^(%d+) (%d+) (.*)$')
    return epoch, tonumber(attempts), worker
end

-- Whether the chunk is not done: its entry is there.
local function is_open(chunk)
    local id = id_of(chunk)
    return #call('XRANGE', TASKS, id, id) > 0
end

local function remember(chunk, attempt, worker, reason)
    local known = call('HGET', WHY, int(chunk))
    local list = known and cjson.decode(known) or {}
    list[#list + 1] = {now, attempt, worker, string.sub(reason, -4096)}
    if #list > 8 then
        table.remove(list, 1)
    end
    call('HSET', WHY, int(chunk), cjson.encode(list))
end

-- The chunk is given up: its entry stays, its lease goes.
local function bury(chunk, attempts, worker, reason)
    local id = id_of(chunk)
    call('XACK', TASKS, GROUP, id)
    call('HSET', LEASE, int(chunk), '0 ' .. int(attempts) .. ' ')
    call('ZADD', DEAD, int(now), int(chunk))
    job.dead = job.dead + 1
    event('chunk.dead', chunk, worker, nil, attempts, reason)
end

-- A lease ended without a result. Charged ones count an attempt and may be the last.
local function give_back(chunk, epoch, attempts, worker, charged, reason)
    if charged then
        attempts = attempts + 1
        job.attempts = job.attempts + 1
        remember(chunk, attempts, worker, reason)
        if attempts >= job.max_attempts then
            bury(chunk, attempts, worker, reason)
            return
        end
    end
    call('HSET', LEASE, int(chunk), epoch .. ' ' .. int(attempts) .. ' ')
    call('RPUSH', READY, int(chunk))
end

-- The leases of a worker, oldest first: {chunk, epoch, attempts}.
local function leases_of(worker)
    local out, from = {}, '-'
    repeat
        local page = call('XPENDING', TASKS, GROUP, from, '+', SLICE, worker)
        local chunks = {}
        for i, entry in ipairs(page) do
            chunks[i] = int(chunk_of(entry[1]) or -1)
            from = '(' .. entry[1]
        end
        local records = #page > 0 and call('HMGET', LEASE, unpack(chunks)) or {}
        for i, chunk in ipairs(chunks) do
            local epoch, attempts, holder = read_lease(records[i])
            if holder == worker then
                out[#out + 1] = {tonumber(chunk), epoch, attempts}
            end
        end
    until #page < SLICE
    table.sort(out, function(a, b)
        return tonumber(a[2]) < tonumber(b[2])
    end)
    return out
end

local function read_worker(name)
    local text = call('HGET', WORKERS, name)
    if not text then
        return nil
    end
    local w = {}
    w.incarnation, w.slots, w.joined_ms, w.completed, w.failed, w.lost =
        string.match(text, '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
    w.slots, w.completed, w.failed, w.lost =
        tonumber(w.slots), tonumber(w.completed), tonumber(w.failed), tonumber(w.lost)
    return w
end

local function write_worker(name, w)
    call('HSET', WORKERS, name, table.concat({w.incarnation, int(w.slots), w.joined_ms,
         int(w.completed), int(w.failed), int(w.lost)}, ' '))
end

local function forget_worker(name)
    call('HDEL', WORKERS, name)
    call('HDEL', HELD, name)
    call('ZREM', ALIVE, name)
end

-- A worker is gone: the `slots` oldest leases had started and are charged.
local function lose(name, w, reason)
    local leases = leases_of(name)
    for i, l in ipairs(leases) do
        give_back(l[1], l[2], l[3], name, i <= w.slots, 'worker ' .. name .. ' was lost: ' .. reason)
        call('HSET', P .. 'loss', int(l[1]), int(now) .. ' ' .. name)
    end
    job.workers_lost = job.workers_lost + 1
    event('worker.lost', nil, name, nil, #leases, reason)
    forget_worker(name)
    return #leases
end

-- Who was silent too long is lost: one worker a call, so that nothing stalls. After an outage of
-- the server itself everybody gets time to come back.
local function check_presence()
    if now - job.seen_ms > 1000 then
        job.grace_ms = now + GRACE_MS
    end
    job.seen_ms = now
    if now < job.grace_ms then
        return
    end
    local silent = call('ZRANGEBYSCORE', ALIVE, '-inf', int(now - PRESENCE_MS), 'LIMIT', 0, 1)
    if #silent > 0 then
        local w = read_worker(silent[1])
        if w then
            lose(silent[1], w, 'silent for more than ' .. PRESENCE_MS .. ' ms')
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
    call('ZADD', ALIVE, int(now), ARGV[2])
    return w
end

-- Adds to the job's sum, kept in two parts of 15 digits each. False: the text is no number.
local function add_sum(text)
    local sign, digits = string.match(text, '^(%-?)(%d+)$')
    if not digits then
        return false
    end
    local high = #digits > 15 and tonumber(string.sub(digits, 1, -16)) or 0
    local low = tonumber(string.sub(digits, -15))
    if sign == '-' then
        high, low = -high, -low
    end
    job.sum_high = (job.sum_high or 0) + high
    job.sum_low = (job.sum_low or 0) + low
    if math.abs(job.sum_low) >= 1e15 then
        local carry = job.sum_low > 0 and 1 or -1
        job.sum_high = job.sum_high + carry
        job.sum_low = job.sum_low - carry * 1e15
    end
    return true
end

local function write_sum()
    if not job.sum_high then
        return
    end
    local known = call('HMGET', JOB, 'sum_high', 'sum_low')
    local high = tonumber(known[1] or 0) + job.sum_high
    local low = tonumber(known[2] or 0) + job.sum_low
    if math.abs(low) >= 1e15 then
        local carry = low > 0 and 1 or -1
        high, low = high + carry, low - carry * 1e15
    end
    if math.abs(high) > SMALL then
        call('HSET', JOB, 'sum_overflow', '1')
    end
    call('HSET', JOB, 'has_sum', '1', 'sum_high', int(high), 'sum_low', int(low))
    job.sum_high, job.sum_low = nil, nil
end

-- Results that plain Redis clients added: the first one of a chunk counts, copies go. They are
-- noticed by the length of the stream and told apart by having no `attempt`.
local function absorb()
    local length = call('XLEN', RESULTS) + job.trimmed
    if length == job.result_count then
        return
    end
    local from = call('HGET', JOB, 'absorbed') or '-'
    local page = call('XRANGE', RESULTS, from, '+', 'COUNT', SLICE)
    for _, entry in ipairs(page) do
        local fields = {}
        for i = 1, #entry[2], 2 do
            fields[entry[2][i]] = entry[2][i + 1]
        end
        from = '(' .. entry[1]
        if not fields.attempt then
            local chunk = tonumber(fields.chunk_id)
            local valid = chunk and chunk >= 0 and chunk < job.fed and floor(chunk) == chunk
            if valid and is_open(chunk) and not call('ZSCORE', DEAD, int(chunk)) then
                local _, attempts, holder = read_lease(call('HGET', LEASE, int(chunk)))
                if holder and holder ~= '' then
                    call('HINCRBY', HELD, holder, -1)
                end
                call('XACK', TASKS, GROUP, id_of(chunk))
                call('XDEL', TASKS, id_of(chunk))
                call('HDEL', LEASE, int(chunk))
                job.completed = job.completed + 1
                job.attempts = job.attempts + 1
                job.result_count = job.result_count + 1
                job.params = job.params + params_in(chunk)
                local sum = string.match(fields.result_summary or '', '"sum"%s*:%s*(%-?%d+)')
                if sum and add_sum(sum) then
                    write_sum()
                end
                call('HSET', JOB, 'foreign', '1')
            else
                call('XDEL', RESULTS, entry[1])
                job.stale_dropped = job.stale_dropped + 1
            end
        end
    end
    if #page > 0 then
        call('HSET', JOB, 'absorbed', from)
    end
    finish_if_done()
end
