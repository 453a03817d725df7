-- Sums, and results that plain clients added.
local PART = 1000000000000000 -- a sum is sum0 + PART * sum1 + PART^2 * sum2; only sum2 is negative

local function add_sum(text)
    local minus, digits = string.match(text, '^(%-?)(%d+)$')
    if not digits or #digits > 39 then
        return false
    end
    local sign = minus == '-' and -1 or 1
    local known = call('HMGET', JOB, 'sum0', 'sum1', 'sum2')
    digits = string.rep('0', 45 - #digits) .. digits
    local carry, out = 0, {}
    for i = 0, 2 do
        local v = (known[i + 1] or 0) + carry +
                  sign * tonumber(string.sub(digits, 31 - 15 * i, 45 - 15 * i))
        carry = i < 2 and floor(v / PART) or 0
        out[i] = v - carry * PART
    end
    call('HSET', JOB, 'has_sum', '1', 'sum0', int(out[0]), 'sum1', int(out[1]), 'sum2', int(out[2]))
    return true
end

-- A field of a result, as the output shows it: only JSON may stand there bare.
local function as_json(text)
    local fine, value = pcall(cjson.decode, text)
    return fine and value ~= nil and text or cjson.encode(text)
end

local KNOWN = {chunk_id = 1, start_param = 1, end_param = 1, worker_id = 1, attempt = 1, status = 1,
               params_processed = 1, duration_seconds = 1, completed_at = 1, result_summary = 1,
               output = 1, output_base64 = 1}

-- The first result of a chunk counts and is written in our form; a copy goes.
local function absorb_one(id, words)
    local f = {}
    for i = 1, #words, 2 do
        f[words[i]] = words[i + 1]
    end
    call('XDEL', RESULTS, id)
    local chunk = string.match(f.chunk_id or '', '^%d+$') and tonumber(f.chunk_id)
    if not chunk or chunk >= job.fed or (f.status or 'complete') ~= 'complete' then
        return
    end
    if chunk >= job.delivered then
        deliver(chunk + 1)
    end
    local _, attempts, holder = read_lease(call('HGET', LEASE, int(chunk)))
    if not attempts or job.state == 3 or call('ZSCORE', DEAD, int(chunk)) then
        job.stale_dropped = job.stale_dropped + 1
        return
    end
    local from, to, count = range(chunk)
    local out = {'chunk_id', name_of(chunk), 'start_param', from, 'end_param', to,
           'worker_id', f.worker_id or 'unknown', 'attempt', int(attempts + 1),
           'status', 'complete', 'params_processed', count,
           'duration_seconds', format('%.6f', tonumber(f.duration_seconds) or 0),
           'completed_at', instant(now)}
    local sum = string.match(f.result_summary or '', '"sum"%s*:%s*(%-?%d+)%s*[,}]')
    for i = 1, #words, 2 do
        local name, value = words[i], words[i + 1]
        if not KNOWN[name] and #out < 60 then
            out[#out + 1], out[#out + 2] = name, value
        end
    end
    local kind = f.result_summary and 'result_summary' or f.output_base64 and 'output_base64' or
                 'output'
    out[#out + 1] = kind
    out[#out + 1] = kind == 'result_summary' and as_json(f[kind]) or f[kind] or ''
    job.absorbed = call('XADD', RESULTS, '*', unpack(out))
    forget_chunk(chunk, holder)
    job.completed = job.completed + 1
    job.attempts = job.attempts + 1
    job.result_count = job.result_count + 1
    job.foreign = '1'
    if sum then
        add_sum(sum)
    end
end

-- Our own scripts note the newest result, so what lies behind it came from plain clients.
local function absorb()
    local page = call('XRANGE', RESULTS, '(' .. job.absorbed, '+', 'COUNT', SLICE)
    if #page == 0 then
        return
    end
    -- What is written anew lands behind this.
    local newest = call('XREVRANGE', RESULTS, '+', '-', 'COUNT', 1)[1][1]
    job.absorbed = newest
    repeat
        for _, entry in ipairs(page) do
            absorb_one(entry[1], entry[2])
        end
        page = call('XRANGE', RESULTS, '(' .. page[#page][1], newest, 'COUNT', SLICE)
    until #page == 0
    feed(SLICE)
    finish_if_done()
end
