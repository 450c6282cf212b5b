-- Slurm job_submit plugin: jobs that opted in begin in the cleanest hours that their deadline allows.
--
-- A job opts in by its comment, or by a QOS or partition that the bridge names:
--     sbatch --time=2:00:00 --comment='evenwatt:deadline=+8h' job.sh
-- Terms: deadline (+8h, 2026-11-28T06:00:00Z, or sbatch --deadline), length (default: --time), margin (time kept for
-- waiting in the queue, default 10m). The evenwatt-slurm bridge reads the same terms and knows a few more.
--
-- This runs inside slurmctld, so it asks nobody: it reads one small local file that the bridge keeps fresh. Whatever is
-- wrong (no file, an old one, a term that makes no sense) the job is left as it was submitted, and its owner is told.
-- Jobs that did not opt in are never touched, and no job is ever refused.
--
-- Install: JobSubmitPlugins=lua in slurm.conf, this file as job_submit.lua beside it. A site that has one already
-- calls evenwatt_submit(job) at the end of its own slurm_job_submit.

local FORECAST = os.getenv("EVENWATT_SLURM_FORECAST") or "/run/evenwatt-slurm/forecast"
local OLDEST_S = 3 * 3600 -- an older file says nothing
local MOST_LINES = 20000
local LEAST_SAVING = 0.02 -- below this share it begins at once
local MARGIN_S = 600
local UNSET = 4294967290 -- NO_VAL and INFINITE lie above

local SECONDS = { w = 604800, d = 86400, h = 3600, m = 60, s = 1 }

-- Return a length such as 1h30m in seconds, or nil.
local function duration(text)
    if not text:match("^[%d%.wdhms]+$") then
        return nil
    end
    local total, rest = 0, text:gsub("(%d+%.?%d*)([wdhms])", function(amount, unit)
        return "<" .. tonumber(amount) * SECONDS[unit] .. ">"
    end)
    for part in rest:gmatch("<([^>]+)>") do
        total = total + tonumber(part)
    end
    if rest:gsub("<[^>]+>", "") ~= "" or total <= 0 then
        return nil
    end
    return total
end

-- Return the Unix time of a moment of RFC 3339, or nil. Days by the civil calendar, since os.time knows local time only.
local function moment(text)
    local y, mo, d, h, mi, rest = text:match("^(%d%d%d%d)-(%d%d)-(%d%d)T(%d%d):(%d%d)(.*)$")
    if not y then
        return nil
    end
    local s = rest:match("^:(%d%d)")
    local offset = s and rest:sub(4) or rest
    local sign, oh, om = offset:match("^([+-])(%d%d):(%d%d)$")
    if offset ~= "Z" and not sign then
        return nil
    end
    y, mo, d = tonumber(y), tonumber(mo), tonumber(d)
    if mo <= 2 then
        y = y - 1
    end
    local era = math.floor(y / 400)
    local yoe = y - era * 400
    local doy = math.floor((153 * ((mo + 9) % 12) + 2) / 5) + d - 1
    local days = era * 146097 + yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy - 719468
    local at = days * 86400 + tonumber(h) * 3600 + tonumber(mi) * 60 + tonumber(s or 0)
    if sign then
        local away = tonumber(oh) * 3600 + tonumber(om) * 60
        at = at - (sign == "+" and away or -away)
    end
    return at
end

-- Return terms such as "deadline=+8h,length=2h" as a table.
local function read_terms(text)
    local terms = {}
    for key, value in text:gmatch("([%w_]+)=([^,%s]+)") do
        terms[key] = value
    end
    return terms
end

-- Read the bridge's file: slots {start_s, end_s, g_per_kwh} in order, and the terms of QOS and partitions.
local function read_forecast(now)
    local file = io.open(FORECAST, "r")
    if not file then
        return nil, "there is no forecast (" .. FORECAST .. "); is evenwatt-slurm running?"
    end
    local slots, opted, written, whole, lines = {}, { qos = {}, partition = {} }, nil, false, 0
    for line in file:lines() do
        lines = lines + 1
        local kind, rest = line:match("^(%S+)%s*(.*)$")
        if lines > MOST_LINES then
            break
        elseif kind == "evenwatt-forecast" then
            written = tonumber(rest:match("^1 (%d+)"))
        elseif kind == "slot" then
            local from, to, grams = rest:match("^(%d+) (%d+) ([%d%.]+)$")
            from, to, grams = tonumber(from), tonumber(to), tonumber(grams)
            if not grams or to <= from or (#slots > 0 and slots[#slots][2] ~= from) then
                break
            end
            slots[#slots + 1] = { from, to, grams }
        elseif kind == "qos" or kind == "partition" then
            local name, terms = rest:match("^(%S+) (%S+)$")
            if name then
                opted[kind][name] = terms
            end
        elseif kind == "end" then
            whole = true
        end
    end
    file:close()
    if not written or not whole then
        return nil, "the forecast cannot be read"
    elseif now - written > OLDEST_S or #slots == 0 then
        return nil, "the forecast is old"
    end
    return { slots = slots, opted = opted }
end

-- Return the integral of intensity from the first slot to a moment, in g/kWh x s.
local function until_moment(slots, sums, at)
    local low, high = 1, #slots
    while low < high do
        local middle = math.floor((low + high + 1) / 2)
        if slots[middle][1] <= at then
            low = middle
        else
            high = middle - 1
        end
    end
    return sums[low] + (at - slots[low][1]) * slots[low][3]
end

-- Return the begin of the cleanest window and by what share it is cleaner than beginning at `earliest`.
-- A window's mean changes evenly between the moments at which one of its ends meets an edge of a slot: only those count.
local function cleanest(slots, length, earliest, latest)
    local first, last = slots[1][1], slots[#slots][2]
    earliest, latest = math.max(earliest, first), math.min(latest, last - length)
    if latest <= earliest then
        return earliest, 0
    end
    local sums = { 0 }
    for i = 2, #slots do
        sums[i] = sums[i - 1] + (slots[i - 1][2] - slots[i - 1][1]) * slots[i - 1][3]
    end
    local function weight(at)
        return until_moment(slots, sums, at + length) - until_moment(slots, sums, at)
    end
    local at_once = weight(earliest)
    local best, least = earliest, at_once
    local function try(at)
        if at > earliest and at <= latest then
            local grams = weight(at)
            if grams < least - 1e-9 or (grams <= least + 1e-9 and at < best) then
                best, least = at, grams
            end
        end
    end
    try(latest)
    for _, slot in ipairs(slots) do
        try(slot[1])
        try(slot[2] - length)
    end
    return best, at_once > 0 and 1 - least / at_once or 0
end

-- Return when a job should begin, a line for its owner and a mark for the bridge; nil and a line if it is left alone; nil if it did not opt in.
local function advise(job, now)
    local said = job.comment and job.comment:match("evenwatt:?(%S*)")
    local forecast, trouble = read_forecast(now)
    if not said and forecast then
        said = forecast.opted.qos[job.qos or ""] or forecast.opted.partition[job.partition or ""]
    end
    if not said then
        return nil
    elseif not forecast then
        return nil, trouble
    end
    local terms = read_terms(said)
    local limit = job.time_limit and job.time_limit < UNSET and job.time_limit * 60 or nil
    local length = terms.length and duration(terms.length) or (not terms.length and limit) or nil
    if not length then
        return nil, "it does not say how long it takes; give --time, or length=2h"
    end
    local margin = terms.margin and duration(terms.margin) or MARGIN_S
    local own = job.deadline and job.deadline > 0 and job.deadline < UNSET and job.deadline or nil
    local deadline = own
    if terms.deadline then
        local after = terms.deadline:match("^%+(.+)$")
        deadline = after and duration(after) and now + duration(after) or moment(terms.deadline)
    end
    if not terms.deadline and not own then -- most versions of Slurm do not show --deadline to plugins; the bridge sees it
        return nil, "it names no deadline here; evenwatt-slurm looks at it when it waits"
    end
    if not deadline then
        return nil, "deadline= is neither a time from now such as +8h nor a moment such as 2026-11-28T06:00:00Z"
    end
    local latest = deadline - length - margin
    if own then -- Slurm itself throws a job out that cannot end by its own deadline within its limit
        latest = math.min(latest, own - (limit or length) - margin)
    end
    local asked = job.begin_time and job.begin_time < UNSET and job.begin_time or 0
    local at, saving = cleanest(forecast.slots, length, math.max(now, asked), latest)
    if saving < LEAST_SAVING or at <= math.max(now + 60, asked) then
        return nil, "it is as clean now as later"
    end
    local line = "begins at %s UTC: %.0f %% less carbon expected; it has to begin by %s"
    local shown = os.date("!%Y-%m-%d %H:%M", math.floor(at))
    local mark = ("evenwatt:begin=%d"):format(math.floor(at))
    if asked > now then
        mark = mark .. (",earliest=%d"):format(math.floor(asked))
    end
    return math.floor(at), line:format(shown, 100 * saving, os.date("!%Y-%m-%d %H:%M", math.floor(latest))), mark
end

-- Set a job's begin time if it opted in; whatever goes wrong, it is left as it is.
function evenwatt_submit(job)
    local fine, at, line, mark = pcall(advise, job, os.time())
    if not fine then
        slurm.log_info("evenwatt: " .. tostring(at):gsub("%%", "%%%%"))
        return
    end
    if at then
        job.begin_time = at
        job.admin_comment = mark -- so the bridge knows that this begin is no wish of the owner's
    end
    if line then
        slurm.log_user("evenwatt: " .. (at and "" or "not delayed: ") .. line:gsub("%%", "%%%%"))
    end
end

function slurm_job_submit(job, partitions, uid)
    evenwatt_submit(job)
    return slurm.SUCCESS
end

function slurm_job_modify(job, record, partitions, uid)
    return slurm.SUCCESS
end
