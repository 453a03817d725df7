-- job worker incarnation [chunk epoch duration_us kind value digest0 digest1] ...
-- kind: s a sum, o output, b output in base64
if not open() then
    return no_job()
end
local name, count, answer = ARGV[2], (#ARGV - 3) / 7, {0}
local chunks, n = {}, 0
for i = 4, #ARGV, 7 do
    n = n + 1
    chunks[n] = ARGV[i]
end
local records = {}
for at = 1, n, SLICE do
    local page = call('HMGET', LEASE, unpack(chunks, at, math.min(n, at + SLICE - 1)))
    for i = 1, #page do
        records[at + i - 1] = page[i]
    end
end
local accepted, ids, digest, holders = {}, {}, {}, {}
local at = instant(now)
local seen = {}
for k = 1, n do
    local i = 4 + (k - 1) * 7
    local epoch, attempts, holder = read_lease(records[k])
    local kind, value = ARGV[i + 3], ARGV[i + 4]
    local verdict
    local chunk = tonumber(chunks[k])
    if job.state == 3 then
        verdict = 'refused'
    elseif chunk >= job.chunks then
        verdict = 'invalid'
    elseif epoch ~= ARGV[i + 1] or seen[chunk] or call('ZSCORE', DEAD, chunks[k]) then
        verdict = 'stale'
        job.stale_dropped = job.stale_dropped + 1
    elseif kind == 's' and not add_sum(value) then
        verdict = 'invalid'
    end
    if verdict then
        answer[#answer + 1] = chunk
        answer[#answer + 1] = verdict
    else
        seen[chunk] = true
        local from, to = range(chunk)
        local params = int(params_in(chunk))
        local field = kind == 's' and 'result_summary' or kind == 'o' and 'output' or 'output_base64'
        if kind == 's' then
            value = '{"sum":' .. value .. ',"count":' .. params .. '}'
        end
        call('XADD', RESULTS, '*', 'chunk_id', name_of(chunk), 'start_param', from, 'end_param', to,
             'worker_id', name, 'attempt', int(attempts + 1), 'status', 'complete',
             'params_processed', params, 'duration_seconds', format('%.6f', ARGV[i + 2] / 1e6),
             'completed_at', at, field, value)
        accepted[#accepted + 1] = chunks[k]
        ids[#ids + 1] = id_of(chunk)
        digest[#digest + 1] = ARGV[i + 5]
        digest[#digest + 1] = ARGV[i + 6]
        job.params = job.params + params
        if holder == '' then -- it was given back, or its worker was thought lost
            call('LREM', READY, 1, chunks[k])
            call('ZREM', DELAY, chunks[k])
        else
            holders[holder] = (holders[holder] or 0) + 1
        end
    end
end
local done = #accepted
if done > 0 then
    call_sliced(ids, 'XACK', TASKS, GROUP)
    call_sliced(ids, 'XDEL', TASKS)
    call_sliced(accepted, 'HDEL', LEASE)
    call_sliced(accepted, 'HDEL', WHY)
    for i = 1, done, 100 do
        local words = {'BITFIELD', DIGEST, 'OVERFLOW', 'WRAP'}
        for k = i, math.min(done, i + 99) do
            local to = #words
            words[to + 1], words[to + 2], words[to + 3], words[to + 4] =
                'INCRBY', 'i64', '#0', digest[2 * k - 1]
            words[to + 5], words[to + 6], words[to + 7], words[to + 8] =
                'INCRBY', 'i64', '#1', digest[2 * k]
        end
        call(unpack(words))
    end
    for holder, less in pairs(holders) do
        call('HINCRBY', HELD, holder, -less)
    end
    job.completed = job.completed + done
    job.attempts = job.attempts + done
    job.result_count = job.result_count + done
    local w = read_worker(name)
    if w and w.incarnation == ARGV[3] then
        w.completed = w.completed + done
        write_worker(name, w)
        call('ZADD', ALIVE, int(now), name)
    end
    write_sum()
    feed(2 * done)
    finish_if_done()
end
close()
answer[1] = done
return answer
