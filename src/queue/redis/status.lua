-- job
if not open() then
    return no_job()
end
check_presence()
absorb()
close()
local text = call('HMGET', JOB, 'first', 'chunk_params', 'retry_min_ms', 'retry_max_ms',
                  'retry_jitter', 'kernel', 'input', 'has_sum', 'sum_high', 'sum_low',
                  'sum_overflow', 'foreign', 'last', 'params_total')
local ready, delayed = call('LLEN', READY), call('ZCARD', DELAY)
local pending = call('XPENDING', TASKS, GROUP)[1]
-- Chunks that wait after a loss are still in the pending list, under their last holder.
local leased = math.max(0, pending - ready - delayed)
local open_chunks = job.fed - job.completed - job.dead - job.dropped
local digest = ''
if not text[12] then
    local d = call('GET', DIGEST) or string.rep('\0', 16)
    for i = 1, 16 do
        digest = digest .. format('%02x', string.byte(d, i) or 0)
    end
end
local sum = ''
if not text[11] then
    local high, low = tonumber(text[9] or 0), tonumber(text[10] or 0)
    if high ~= 0 and low ~= 0 and (high < 0) ~= (low < 0) then
        local step = high > 0 and 1 or -1
        high, low = high - step, low + step * 1e15
    end
    sum = high == 0 and int(low) or int(high) .. format('%015.0f', math.abs(low))
end
local slots, names = 0, call('HKEYS', WORKERS)
for _, name in ipairs(names) do
    slots = slots + read_worker(name).slots
end
local states = {'running', 'paused', 'finished', 'canceled'}
return {'job', ARGV[1], 'state', states[job.state + 1], 'created_ms', job.created_ms,
        'started_ms', job.started_ms, 'finished_ms', job.finished_ms, 'now_ms', now,
        'first', text[1], 'chunk_params', text[2], 'last', text[13], 'params_total', text[14],
        'chunks', int(job.chunks), 'completed', int(job.completed), 'dead_letters', job.dead,
        'dropped', job.dropped, 'unfed', int(job.chunks - job.fed),
        'fresh', math.max(0, open_chunks - ready - delayed - leased), 'ready', ready,
        'delayed', delayed, 'leased', leased, 'attempts', int(job.attempts),
        'reclaimed', job.reclaimed, 'stolen', 0, 'stale_dropped', job.stale_dropped,
        'failures', job.failures, 'released', job.released, 'redriven', job.redriven,
        'workers', #names, 'workers_lost', job.workers_lost, 'slots', slots,
        'params', int(job.params), 'has_sum', text[8] and 1 or 0, 'sum', sum, 'digest', digest,
        'result_seq', int(job.result_count), 'result_first', int(job.trimmed + 1),
        'event_seq', job.event_seq, 'max_attempts', job.max_attempts, 'retry_min_ms', text[3],
        'retry_max_ms', text[4], 'retry_jitter', text[5], 'stale_ms', job.stale_ms,
        'window', job.window, 'kernel', text[6], 'input', text[7], 'boot', 0}
