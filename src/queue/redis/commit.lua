-- uses: job decimal range bulk lease worker result recent
-- job worker incarnation sum digest0 digest1 parts [chunk epoch seconds field value] ...
-- `field` and `value` are the last field of the result; `parts` is what each result adds to the
-- totals, "digest0 digest1 sum;" or, without a sum, "digest0 digest1 ;". It is needed only when not
-- all are accepted, or when sum is ?.
local GARBAGE_MAX = 30000 -- more than some dozen workers have in hand together
if not open() then
    return no_job()
end
absorb()
local name, n = ARGV[2], (#ARGV - 7) / 5
local chunks = {}
for k = 1, n do
    chunks[k] = ARGV[5 * k + 3]
end
local records = n <= SLICE and call('HMGET', LEASE, unpack(chunks)) or {}
for at = #records + 1, n, SLICE do
    local page = call('HMGET', LEASE, unpack(chunks, at, math.min(n, at + SLICE - 1)))
    for i = 1, #page do
        records[at + i - 1] = page[i]
    end
end

-- Verdicts: what is accepted, in order, and what is not.
-- Attempts and holders are noted where they are not 0 and the caller.
local answer, late, good, attempts, holders, numbers, epochs = {0}, {}, {}, {}, {}, {}, {}
local first, newest, seen, done = ' 0 ' .. name, -1, nil, 0

-- Whether the commit names the chunk twice; without cost as long as they come in order.
local function repeated(number)
    if not seen and number > newest then
        newest = number
        return false
    elseif not seen then
        seen = {}
        for i = 1, done do
            seen[numbers[i]] = true
        end
    end
    local known = seen[number]
    seen[number] = true
    return known
end
for k = 1, n do
    local epoch, record, number = ARGV[5 * k + 4], records[k], tonumber(chunks[k])
    local verdict, at, attempt, holder
    if record == epoch .. first then -- nothing has happened since it was taken
        at = epoch
    else
        at, attempt, holder = read_lease(record)
    end
    if job.state == 3 then
        verdict = 'refused'
    elseif not at and number >= job.chunks then
        verdict = 'invalid'
    elseif at ~= epoch or repeated(number) then
        verdict = 'stale'
    end
    if verdict then
        answer[#answer + 1], answer[#answer + 2] = chunks[k], verdict
        late[chunks[k]] = epoch
    else
        done = done + 1
        good[done], numbers[done], attempts[done], holders[done] = k, number, attempt, holder
        epochs[done] = tonumber(epoch)
    end
end

-- Was it this very commit whose answer got lost?
local known
for i = 3, #answer, 2 do
    if answer[i] == 'stale' then
        known = known or recall(name)
        if known(tonumber(answer[i - 1]), late[answer[i - 1]]) then
            answer[i] = 'again'
        else
            job.stale_dropped = job.stale_dropped + 1
        end
    end
end

local function write_results()
    local at = instant(now)
    local id
    for i = 1, done do
        local arg = 5 * good[i] + 3
        local chunk, text = numbers[i], chunks[good[i]]
        local from, to, count = range(chunk, text)
        id = call('XADD', RESULTS, '*', 'chunk_id', name_of(chunk, text), 'start_param', from,
                  'end_param', to, 'worker_id', name,
                  'attempt', attempts[i] and int(attempts[i] + 1) or '1',
                  'status', 'complete', 'params_processed', count,
                  'duration_seconds', ARGV[arg + 2], 'completed_at', at,
                  ARGV[arg + 3], ARGV[arg + 4])
    end
    job.absorbed = id
end

local function add_up(sum, digest0, digest1)
    call('BITFIELD', DIGEST, 'OVERFLOW', 'WRAP', 'INCRBY', 'i64', '#0', digest0,
         'INCRBY', 'i64', '#1', digest1)
    if sum ~= '' then
        add_sum(sum)
    end
end

-- Entries of done chunks go by whole blocks once nothing below them is pending, which is far cheaper
-- than one by one; those above wait in a list, as "first last" of neighbours. With dead letters
-- around, one by one.
local function sweep(ids, accepted)
    if job.dead > 0 then
        call_sliced(ids, 'XDEL', TASKS)
        return
    end
    local first_pending = call('XPENDING', TASKS, GROUP, '-', '+', 1)[1]
    local bound = first_pending and chunk_of(first_pending[1]) or job.delivered
    bound = math.min(bound, lowest_bulk() or bound)
    call('XTRIM', TASKS, 'MINID', '~', id_of(bound))
    local late, from = {}, nil
    for i = 1, done do
        local chunk = numbers[i]
        if chunk > bound then
            from = from or chunk
            job.littered = job.littered + 1
            if numbers[i + 1] ~= chunk + 1 then
                late[#late + 1] = int(from) .. ' ' .. int(chunk)
                from = nil
            end
        end
    end
    call_sliced(late, 'RPUSH', GARBAGE)
    while job.littered > GARBAGE_MAX do
        local first, last = string.match(call('LPOP', GARBAGE) or '0 -1', '^(%d+) ?(%-?%d*)$')
        first, last = tonumber(first), tonumber(last == '' and first or last)
        job.littered = last < first and 0 or job.littered - (last - first + 1)
        late = {}
        for chunk = math.max(first, bound), last do
            late[#late + 1] = id_of(chunk)
        end
        call_sliced(late, 'XDEL', TASKS)
    end
end

local function close_chunks()
    local ids, pending, accepted, per_holder = {}, {}, {}, {}
    local strike, struck = striker(name)
    for i = 1, done do
        local text, holder = chunks[good[i]], holders[i] or name
        accepted[i] = text
        local waits = strike(numbers[i], epochs[i])
        if not waits or job.dead > 0 then
            ids[#ids + 1] = id_of(numbers[i])
        end
        if not waits then
            pending[#pending + 1] = ids[#ids]
        end
        if holder == '' then -- it was given back, or its worker was thought lost
            call('LREM', READY, 1, text)
            call('ZREM', DELAY, text)
            call('HDEL', LOSS, text)
        else
            per_holder[holder] = (per_holder[holder] or 0) + 1
        end
        if attempts[i] then
            call('HDEL', WHY, text)
        end
    end
    struck()
    call_sliced(pending, 'XACK', TASKS, GROUP)
    call_sliced(accepted, 'HDEL', LEASE)
    sweep(ids, accepted)
    for holder, less in pairs(per_holder) do
        call('HINCRBY', HELD, holder, -less)
    end
end

if done > 0 then
    write_results()
    close_chunks()
    if done == n and ARGV[4] ~= '?' then
        add_up(ARGV[4], ARGV[5], ARGV[6])
    else
        local k, i = 0, 1
        for a, b, sum in string.gmatch(ARGV[7], '(%-?%d+) (%-?%d+) (%-?%d*);') do
            k = k + 1
            if good[i] == k then
                add_up(sum, a, b)
                i = i + 1
            end
        end
    end
    job.completed = job.completed + done
    job.attempts = job.attempts + done
    job.result_count = job.result_count + done
    note_commit(name, numbers, epochs)
    local w = read_worker(name)
    if w and w.incarnation == ARGV[3] then
        w.completed = w.completed + done
        write_worker(name, w)
        touch(name)
    end
    feed(2 * done)
    finish_if_done()
end
close()
answer[1] = done
return answer
