-- uses: job decimal range bulk lease worker result
-- job
if not open() then
    return no_job()
end
check_presence()
absorb()
close()
local text = call('HMGET', JOB, 'retry_min_ms', 'retry_max_ms', 'retry_jitter', 'kernel', 'input',
                  'has_sum', 'sum0', 'sum1', 'sum2', 'last', 'params_total')

-- Empty when it exceeds 128 bits.
local function sum_text()
    local low, middle, high = tonumber(text[7] or 0), tonumber(text[8] or 0), tonumber(text[9] or 0)
    local minus = high < 0
    if minus then -- only the highest part has a sign
        low, middle, high = -low, -middle, -high
        if low < 0 then
            low, middle = low + PART, middle - 1
        end
        if middle < 0 then
            middle, high = middle + PART, high - 1
        end
    end
    local digits = format('%d%015d%015d', high, middle, low)
    digits = string.gsub(digits, '^0+(%d)', '%1')
    if #digits > 39 or #digits == 39 and digits > '170141183460469231731687303715884105727' then
        return ''
    end
    return (minus and '-' or '') .. digits
end

-- Parameters of the completed chunks: the last chunk alone has another size.
local function params_text()
    local all = limbs_multiply(limbs(int(job.completed)), limbs(job.chunk_params))
    local last = job.chunks - 1
    if job.chunks > 0 and job.delivered > last and call('HEXISTS', LEASE, int(last)) == 0 and
        not (job.dropped > 0 and call('HGET', JOB, 'last_dropped')) then
        all = limbs_add(all, limbs(job.chunk_params), -1)
        all = limbs_add(all, limbs(job.last_count), 1)
    end
    return limbs_text(all)
end

-- Results of plain clients have none, so that there is none of all.
local function digest_text()
    local bytes = not job.foreign and call('GET', DIGEST) or ''
    local out = {}
    for i = 1, 16 do
        out[i] = format('%02x', string.byte(bytes, i) or 0)
    end
    return table.concat(out)
end

local ready, delayed = call('LLEN', READY), call('ZCARD', DELAY)
local fresh = job.fed - job.delivered
local leased = job.delivered - job.completed - job.dead - job.dropped - ready - delayed
local slots, names = 0, call('HKEYS', WORKERS)
for _, name in ipairs(names) do
    slots = slots + read_worker(name).slots
end
return {'job', ARGV[1], 'state', STATES[job.state + 1], 'created_ms', job.created_ms,
        'started_ms', job.started_ms, 'finished_ms', job.finished_ms, 'now_ms', now,
        'first', job.first, 'last', text[10], 'chunk_params', job.chunk_params,
        'params_total', text[11], 'chunks', int(job.chunks), 'completed', int(job.completed),
        'dead_letters', int(job.dead), 'dropped', int(job.dropped),
        'unfed', int(job.chunks - job.fed), 'fresh', int(fresh), 'ready', ready,
        'delayed', delayed, 'leased', int(leased), 'attempts', int(job.attempts),
        'reclaimed', int(job.reclaimed), 'stolen', int(job.stolen),
        'stale_dropped', int(job.stale_dropped), 'failures', int(job.failures),
        'released', int(job.released), 'redriven', int(job.redriven), 'workers', #names,
        'workers_lost', int(job.workers_lost), 'slots', slots, 'params', params_text(),
        'has_sum', text[6] and 1 or 0, 'sum', text[6] and sum_text() or '0',
        'digest', digest_text(), 'result_seq', int(job.result_count),
        'result_first', int(job.trimmed + 1), 'event_seq', int(job.event_seq),
        'max_attempts', job.max_attempts, 'retry_min_ms', text[1], 'retry_max_ms', text[2],
        'retry_jitter', text[3], 'stale_ms', job.stale_ms, 'window', int(job.window),
        'kernel', text[4], 'input', text[5], 'boot', 0}
