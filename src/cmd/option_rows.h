/* SPDX-License-Identifier: Apache-2.0 */
/* option_rows - every option, once. Included several times with another OPTION each.
 *
 * To add an option, add a row; nothing else needs a change but docs/reference.md, written anew with
 * `build/ttg help --markdown > docs/reference.md` (a test compares). To give an option to a further
 * command, add IN_COMMAND to its `commands`, or the command to a set in command.h. The value is
 * read with option_u64(o, OPT_ID) etc.
 *
 * Fields: flag (without dashes), letter (short flag), variable, variable_else (asked when the first
 * is not set), key (in the file; the flag's name unless given), type, unit (of a plain number),
 * min and max (inclusive, written like a value), def (default; none: not set), choices ("a|b"), arg
 * (placeholder in the help), help (one sentence without a full stop), commands. Switches:
 * only_flag (neither variable nor file), secret (`ttg config` hides it), empty_ok (an empty text is
 * a value). Two rows may share a flag when they share no command. */
/* clang-format off */

/* Every command. */
OPTION(HELP, .flag = "help", .letter = 'h', .type = OPTION_BOOL, .only_flag = true,
       .help = "explain the command and its options", .commands = IN_ALL)
OPTION(COLOR, .flag = "color", .type = OPTION_AUTO, .def = "auto",
       .help = "colour in messages and help; auto: on a terminal", .commands = IN_ALL)
OPTION(NO_COLOR, .variable = "NO_COLOR", .type = OPTION_STRING, .empty_ok = true,
       .help = "any text that is not empty: no colour unless --color is given", .commands = IN_ALL)
OPTION(CONFIG, .flag = "config", .variable = "TTG_CONFIG", .type = OPTION_STRING, .arg = "FILE",
       .only_flag = true, .help = "read settings from FILE",
       .commands = IN_ALL & ~(IN_VERSION | IN_HELP))
OPTION(LOG_LEVEL, .flag = "log-level", .variable = "LOG_LEVEL", .type = OPTION_ENUM,
       .choices = "DEBUG|INFO|WARN|WARNING|ERROR", .def = "INFO", .help = "least level to log",
       .commands = IN_LOGGING)
OPTION(LOG_FORMAT, .flag = "log-format", .variable = "LOG_FORMAT", .type = OPTION_ENUM,
       .choices = "text|json", .def = "text", .help = "form of the log on standard error",
       .commands = IN_LOGGING)
OPTION(JSON, .flag = "json", .type = OPTION_BOOL, .only_flag = true,
       .help = "print one line of JSON", .commands = IN_CONFIG | IN_VERSION | IN_SPEC | IN_STATUS | IN_WAIT | IN_VERIFY | IN_DLQ |
                   IN_EXPLAIN | IN_DOCTOR | IN_DEMO | IN_CLEANUP | IN_MONITOR | IN_PIPELINE | IN_BENCH)

/* What to compute. */
OPTION(PARAMS, .flag = "params", .letter = 'n', .variable = "TOTAL_PARAMETERS", .type = OPTION_U64,
       .unit = "parameters", .min = "1", .max = "9223372036854775807", .def = "10000",
       .help = "process the parameters 0 to N-1", .commands = IN_WORKER | IN_SPEC)
OPTION(CHUNK, .flag = "chunk", .letter = 'c', .variable = "CHUNK_SIZE", .type = OPTION_U64,
       .unit = "parameters", .min = "1", .max = "9223372036854775807", .def = "100",
       .help = "parameters per chunk", .commands = IN_WORKER | IN_SPEC)
OPTION(RANGE, .flag = "range", .type = OPTION_STRING, .arg = "A..B", .only_flag = true,
       .help = "process the parameters A to B, B included; both may be negative",
       .commands = IN_SPEC)
OPTION(INPUT, .flag = "input", .letter = 'i', .type = OPTION_STRING, .arg = "FILE",
       .only_flag = true,
       .help = "process the lines of FILE (plain, gzip or zstd; - is standard input)",
       .commands = IN_SPEC)
OPTION(NULL_LINES, .flag = "null", .letter = '0', .type = OPTION_BOOL, .only_flag = true,
       .help = "parameters in the input end with NUL instead of a newline", .commands = IN_SPEC)
OPTION(WINDOW, .flag = "window", .type = OPTION_U64, .unit = "chunks", .min = "1",
       .max = "4194304", .def = "65536", .help = "most chunks to keep open at a time",
       .commands = IN_SPEC)
OPTION(WORKERS, .flag = "workers", .letter = 'w', .type = OPTION_U64, .unit = "workers",
       .min = "0", .max = "1024",
       .help = "worker processes to start (default: one per processor)", .commands = IN_RUN)
OPTION(OUTPUT, .flag = "output", .letter = 'o', .type = OPTION_STRING, .arg = "FILE",
       .only_flag = true, .help = "append results to FILE; default: standard output",
       .commands = IN_RUN | IN_RESULTS)
OPTION(VERIFY_OUTPUT, .flag = "output", .letter = 'o', .type = OPTION_STRING, .arg = "FILE",
       .only_flag = true, .help = "check the lines of FILE (- is standard input) instead of the queue's",
       .commands = IN_VERIFY)
OPTION(ORDERED, .flag = "ordered", .type = OPTION_BOOL, .only_flag = true,
       .help = "results in the order of the chunks", .commands = IN_RUN | IN_RESULTS)
OPTION(RAW, .flag = "raw", .type = OPTION_BOOL, .only_flag = true,
       .help = "print what the programs printed, without JSON; not with --output",
       .commands = IN_RUN | IN_RESULTS)
OPTION(RESUME, .flag = "resume", .type = OPTION_BOOL, .only_flag = true,
       .help = "go on with a job that was not completed", .commands = IN_RUN)
OPTION(PROGRESS, .flag = "progress", .type = OPTION_AUTO, .def = "auto",
       .help = "show how far the job is on standard error; auto: a bar on a terminal",
       .commands = IN_RUN)
OPTION(JOBLOG, .flag = "joblog", .type = OPTION_STRING, .arg = "FILE", .only_flag = true,
       .help = "append a line per chunk to FILE, in the form of GNU parallel's job log",
       .commands = IN_RUN)
OPTION(RESULTS_RESUME, .flag = "resume", .type = OPTION_BOOL, .only_flag = true,
       .help = "append to a file that was not completed", .commands = IN_RESULTS)
OPTION(FOLLOW, .flag = "follow", .letter = 'f', .type = OPTION_BOOL, .only_flag = true,
       .help = "wait for further results until the job has ended", .commands = IN_RESULTS)
OPTION(TRIM, .flag = "trim", .type = OPTION_BOOL, .only_flag = true,
       .help = "let the queue forget results that are safe in the file", .commands = IN_RESULTS)
OPTION(FORGET, .flag = "forget", .type = OPTION_BOOL, .only_flag = true,
       .help = "also remove the job with its results from the queue, as well one that has ended",
       .commands = IN_CANCEL)
OPTION(CHUNKS, .flag = "chunks", .type = OPTION_U64, .unit = "chunks", .min = "0",
       .max = "9223372036854775807", .only_flag = true,
       .help = "without a queue: how many chunks the job has", .commands = IN_VERIFY)
OPTION(WAIT_TIMEOUT, .flag = "timeout", .type = OPTION_DURATION, .unit = "s", .min = "0",
       .max = "3650d", .def = "0", .only_flag = true,
       .help = "how long to wait at most; 0: for ever", .commands = IN_WAIT)
OPTION(ALL, .flag = "all", .type = OPTION_BOOL, .only_flag = true,
       .help = "redrive or drop: all dead letters", .commands = IN_DLQ)
OPTION(PIPELINE_STATE, .flag = "state", .type = OPTION_STRING, .arg = "DIR", .only_flag = true,
       .help = "the pipeline's state; default: what FILE says, or one of its name for this user",
       .commands = IN_PIPELINE)
OPTION(BATCH, .flag = "batch", .variable = "BATCH_SIZE", .type = OPTION_U64, .unit = "parameters",
       .min = "1", .max = "9223372036854775807", .def = "500",
       .help = "log progress each N parameters", .commands = IN_WORKER)

/* Who computes. */
OPTION(WORKER_ID, .flag = "worker-id", .variable = "WORKER_ID",
       .variable_else = "JOB_COMPLETION_INDEX", .type = OPTION_U64, .min = "0",
       .max = "4294967295", .def = "0", .help = "number of this worker, counted from 0",
       .commands = IN_WORKER)
OPTION(TOTAL_WORKERS, .flag = "total-workers", .variable = "TOTAL_WORKERS", .type = OPTION_U64,
       .unit = "workers", .min = "1", .max = "4294967296", .def = "3",
       .help = "static mode: workers that share the parameters", .commands = IN_WORKER)
OPTION(SLOTS, .flag = "slots", .type = OPTION_U64, .unit = "slots", .min = "1", .max = "1024",
       .def = "1", .help = "chunks that a worker processes at the same time",
       .commands = IN_WORKER | IN_RUN)

OPTION(NAME, .flag = "name", .variable = "TTG_WORKER_NAME", .type = OPTION_STRING, .arg = "NAME",
       .help = "name of this worker on the queue; default: worker-WORKER_ID, or without a "
               "number one that nobody else has",
       .commands = IN_WORKER)
OPTION(RESTART, .flag = "restart", .type = OPTION_BOOL, .only_flag = true,
       .help = "start the worker again when it dies, and tell the queue of what it died",
       .commands = IN_WORKER)
OPTION(INCARNATION, .flag = "incarnation", .type = OPTION_U64, .min = "1",
       .max = "9223372036854775807", .only_flag = true,
       .help = "number that tells this start from others of the same name; default: a random one",
       .commands = IN_WORKER)
OPTION(PREFETCH, .flag = "prefetch", .type = OPTION_U64, .unit = "chunks", .min = "0",
       .max = "4096", .def = "4096", .help = "most chunks to take ahead; how many is measured",
       .commands = IN_WORKER | IN_RUN)

/* How: the kernel. */
OPTION(SIMULATE_MS, .flag = "simulate-ms", .variable = "SIMULATE_WORK_MS", .type = OPTION_F64,
       .arg = "MS", .unit = "ms", .min = "0", .max = "86400000", .def = "1",
       .help = "simulated work per parameter", .commands = IN_KERNEL)
OPTION(FAULT_RATE, .flag = "fault-rate", .variable = "SIMULATE_FAULT_RATE", .type = OPTION_F64,
       .min = "0", .max = "1", .def = "0.0", .help = "probability that a chunk fails on purpose",
       .commands = IN_KERNEL)
OPTION(COPROC, .flag = "coproc", .type = OPTION_BOOL, .only_flag = true,
       .help = "keep CMD running: one JSON line in and one out per chunk", .commands = IN_KERNEL)
OPTION(PLUGIN, .flag = "plugin", .type = OPTION_STRING, .arg = "LIB.so", .only_flag = true,
       .help = "process chunks with a shared library", .commands = IN_KERNEL)
OPTION(PLUGIN_ARG, .flag = "plugin-arg", .type = OPTION_STRING, .only_flag = true, .empty_ok = true,
       .help = "text that the plugin gets when it is loaded", .commands = IN_KERNEL)
OPTION(TIMEOUT, .flag = "timeout", .type = OPTION_DURATION, .unit = "s", .min = "0", .max = "365d",
       .def = "0", .help = "time limit per chunk; 0: none", .commands = IN_KERNEL)
OPTION(OUTPUT_MAX, .flag = "output-max", .type = OPTION_SIZE, .min = "1", .max = "1GiB",
       .def = "1MiB", .help = "largest output of a chunk", .commands = IN_KERNEL)

/* Failures. */
OPTION(MAX_ATTEMPTS, .flag = "max-attempts", .type = OPTION_U64, .unit = "attempts", .min = "1",
       .max = "1000000", .def = "5", .help = "tries before a chunk is given up",
       .commands = IN_WORKER | IN_SPEC)
OPTION(RETRY_DELAY, .flag = "retry-delay", .type = OPTION_DURATION, .unit = "s", .min = "0",
       .max = "1d", .def = "0.1", .help = "pause before the second try; doubles up to 5 s",
       .commands = IN_WORKER | IN_SPEC)
OPTION(DRAIN, .flag = "drain", .variable = "DRAIN_SECONDS", .type = OPTION_DURATION, .unit = "s",
       .min = "0", .max = "1d", .def = "25",
       .help = "after SIGTERM, time for the chunks at hand to end", .commands = IN_WORKER | IN_RUN)

/* Where the chunks are. */
OPTION(QUEUE, .flag = "queue", .letter = 'q', .variable = "TTG_QUEUE", .type = OPTION_STRING,
       .arg = "URL", .help = "queue to use: embedded:DIR, ttg://, ttg+unix:, redis://, amqp:// and others",
       .commands = IN_QUEUE)
OPTION(JOB, .flag = "job", .type = OPTION_NAME, .arg = "NAME", .only_flag = true,
       .help = "name of the job", .commands = IN_QUEUE & ~(IN_PIPELINE | IN_BENCH))
OPTION(QUEUE_RETRY, .flag = "queue-retry", .variable = "QUEUE_RETRY_SECONDS",
       .type = OPTION_DURATION, .unit = "s", .min = "0", .max = "365d", .def = "60",
       .help = "how long to try to reach a queue that is away", .commands = IN_QUEUE | IN_CLEANUP)
OPTION(REDIS_WAIT, .flag = "redis-wait", .variable = "TTG_REDIS_WAIT", .type = OPTION_U64,
       .unit = "replicas", .min = "0", .max = "100", .def = "0",
       .help = "Redis: results count once N replicas have them", .commands = IN_QUEUE)
OPTION(MANAGEMENT, .flag = "management", .variable = "TTG_RABBITMQ_MANAGEMENT",
       .type = OPTION_STRING, .arg = "URL",
       .help = "RabbitMQ's management API; default: http://HOST:15672",
       .commands = IN_DOCTOR | IN_CLEANUP | IN_MONITOR | IN_STATUS)
OPTION(QUEUE_TYPE, .flag = "queue-type", .variable = "TTG_QUEUE_TYPE", .type = OPTION_ENUM,
       .choices = "classic|quorum",
       .help = "RabbitMQ: kind of a new job's queues; quorum: replicated (default: classic)",
       .commands = IN_SPEC | IN_WORKER | IN_PIPELINE | IN_BENCH)
OPTION(QUEUE_CA, .flag = "queue-ca", .variable = "TTG_QUEUE_CA", .type = OPTION_STRING,
       .arg = "FILE", .help = "who must have signed the queue's certificate; default: the system's",
       .commands = IN_QUEUE | IN_CLEANUP)
OPTION(QUEUE_CERT, .flag = "queue-cert", .variable = "TTG_QUEUE_CERT", .type = OPTION_STRING,
       .arg = "FILE", .help = "certificate to show to the queue", .commands = IN_QUEUE | IN_CLEANUP)
OPTION(QUEUE_KEY, .flag = "queue-key", .variable = "TTG_QUEUE_KEY", .type = OPTION_STRING,
       .arg = "FILE", .help = "its key", .commands = IN_QUEUE | IN_CLEANUP)
OPTION(QUEUE_NO_VERIFY, .flag = "queue-no-verify", .type = OPTION_BOOL, .only_flag = true,
       .help = "do not check the queue's certificate: anybody may answer", .commands = IN_QUEUE | IN_CLEANUP)
OPTION(QUEUE_MODE, .flag = "queue-mode", .variable = "QUEUE_MODE", .type = OPTION_BOOL,
       .def = "false", .help = "take chunks from the queue of QUEUE_BACKEND", .commands = IN_QUEUE)
OPTION(QUEUE_BACKEND, .flag = "queue-backend", .variable = "QUEUE_BACKEND", .type = OPTION_ENUM,
       .choices = "redis|rabbitmq", .def = "redis", .help = "kind of queue in queue mode",
       .commands = IN_QUEUE)
OPTION(REDIS_HOST, .flag = "redis-host", .variable = "REDIS_HOST", .type = OPTION_STRING,
       .arg = "HOST", .def = "ttg-redis", .help = "host of Redis", .commands = IN_QUEUE)
OPTION(REDIS_PORT, .flag = "redis-port", .variable = "REDIS_PORT", .type = OPTION_U64, .min = "1",
       .max = "65535", .def = "6379", .help = "port of Redis", .commands = IN_QUEUE)
OPTION(REDIS_PASSWORD, .variable = "REDIS_PASSWORD", .type = OPTION_STRING, .secret = true,
       .empty_ok = true,
       .help = "password of Redis", .commands = IN_QUEUE)
OPTION(RABBITMQ_HOST, .flag = "rabbitmq-host", .variable = "RABBITMQ_HOST", .type = OPTION_STRING,
       .arg = "HOST", .def = "ttg-rabbitmq", .help = "host of RabbitMQ", .commands = IN_QUEUE)
OPTION(RABBITMQ_PORT, .flag = "rabbitmq-port", .variable = "RABBITMQ_PORT", .type = OPTION_U64,
       .min = "1", .max = "65535", .def = "5672", .help = "AMQP port of RabbitMQ",
       .commands = IN_QUEUE)
OPTION(RABBITMQ_USER, .variable = "RABBITMQ_USER", .type = OPTION_STRING, .def = "guest",
       .help = "user of RabbitMQ", .commands = IN_QUEUE)
OPTION(RABBITMQ_PASSWORD, .variable = "RABBITMQ_PASSWORD", .type = OPTION_STRING, .def = "guest",
       .secret = true, .help = "password of RabbitMQ", .commands = IN_QUEUE)
OPTION(IDLE_TIMEOUT, .flag = "idle-timeout", .variable = "IDLE_TIMEOUT_SECONDS",
       .type = OPTION_DURATION, .unit = "s", .min = "0", .max = "365d", .def = "30",
       .help = "queue mode: end after this long without a chunk", .commands = IN_WORKER)
OPTION(STAY, .flag = "stay", .variable = "TTG_STAY", .type = OPTION_BOOL, .def = "false",
       .help = "queue mode: after the job wait for the next one of its name instead of ending",
       .commands = IN_WORKER)
OPTION(STALE_CHECK, .flag = "stale-check", .variable = "STALE_CHECK_INTERVAL_SECONDS",
       .type = OPTION_DURATION, .unit = "s", .min = "1", .max = "1d", .def = "30",
       .help = "Redis: longest time between looks for chunks of consumers without presence; idle "
               "workers look each second",
       .commands = IN_WORKER)
OPTION(STALE_THRESHOLD, .flag = "stale-threshold", .variable = "STALE_THRESHOLD_MS",
       .type = OPTION_DURATION, .unit = "ms", .min = "1", .max = "365d", .def = "60000",
       .help = "Redis: age at which a chunk of a consumer without presence is taken over", .commands = IN_WORKER | IN_SPEC)

/* ttg demo */
OPTION(BACKEND, .flag = "backend", .type = OPTION_ENUM, .choices = "embedded|redis|rabbitmq|all",
       .def = "embedded", .only_flag = true, .help = "where the chunks wait", .commands = IN_DEMO)
OPTION(SCALE, .flag = "scale", .type = OPTION_ENUM, .choices = "small|medium", .def = "small",
       .only_flag = true, .help = "1,000 parameters of 10 ms, or 10,000 of 0.1 ms; 100 chunks",
       .commands = IN_DEMO)
OPTION(DEMO_WORKERS, .flag = "workers", .letter = 'w', .type = OPTION_U64, .unit = "workers",
       .min = "1", .max = "64", .def = "3", .only_flag = true,
       .help = "worker processes to start", .commands = IN_DEMO)
OPTION(FAULT_DEMO, .flag = "fault-demo", .type = OPTION_BOOL, .only_flag = true,
       .help = "run the job once more, and kill a worker in the middle of a chunk",
       .commands = IN_DEMO)
OPTION(DEMO_MONITOR, .flag = "monitor", .type = OPTION_ENUM, .choices = "none|cli|web|both",
       .def = "none", .only_flag = true,
       .help = "watch it on this terminal, in the browser, or both", .commands = IN_DEMO)
OPTION(RUNTIME, .flag = "runtime", .type = OPTION_ENUM, .choices = "local|podman|k8s",
       .def = "local", .only_flag = true,
       .help = "what runs server and workers: processes, containers, or pods", .commands = IN_DEMO)
OPTION(DEMO_IMAGE, .flag = "image", .type = OPTION_STRING, .arg = "IMAGE", .def = "ttg:latest",
       .only_flag = true, .help = "image of ttg for containers and pods", .commands = IN_DEMO)
OPTION(SKIP_CLEANUP, .flag = "skip-cleanup", .type = OPTION_BOOL, .only_flag = true,
       .help = "leave servers running and files in place, to look around", .commands = IN_DEMO)

/* ttg bench */
OPTION(BENCH_WORKERS, .flag = "workers", .letter = 'w', .type = OPTION_U64, .unit = "workers",
       .min = "1", .max = "1024", .only_flag = true,
       .help = "worker processes to start (default: one per processor)", .commands = IN_BENCH)
OPTION(BENCH_SECONDS, .flag = "seconds", .type = OPTION_DURATION, .unit = "s", .min = "0.01",
       .max = "1h", .def = "2", .only_flag = true,
       .help = "how long a run is at least, of which a figure is taken", .commands = IN_BENCH)

/* ttg monitor */
OPTION(ONCE, .flag = "once", .type = OPTION_BOOL, .only_flag = true,
       .help = "print one picture and end", .commands = IN_MONITOR)
OPTION(WATCH, .flag = "watch", .type = OPTION_DURATION, .unit = "s", .min = "0.1", .max = "1h",
       .def = "1", .only_flag = true, .help = "time between two looks", .commands = IN_MONITOR)

/* ttg cleanup */
OPTION(CLEANUP_ALL, .flag = "all", .type = OPTION_BOOL, .only_flag = true,
       .help = "look everywhere, also for volumes", .commands = IN_CLEANUP)
OPTION(CLEANUP_LOCAL, .flag = "local", .type = OPTION_BOOL, .only_flag = true,
       .help = "directories and processes on this machine", .commands = IN_CLEANUP)
OPTION(CLEANUP_REDIS, .flag = "redis", .type = OPTION_BOOL, .only_flag = true,
       .help = "jobs on the Redis servers and nodes named by --queue", .commands = IN_CLEANUP)
OPTION(CLEANUP_RABBITMQ, .flag = "rabbitmq", .type = OPTION_BOOL, .only_flag = true,
       .help = "jobs on the RabbitMQ brokers named by --queue", .commands = IN_CLEANUP)
OPTION(CLEANUP_PODS, .flag = "pods", .type = OPTION_BOOL, .only_flag = true,
       .help = "objects of Kubernetes, podman and docker with ttg's label", .commands = IN_CLEANUP)
OPTION(DRY_RUN, .flag = "dry-run", .type = OPTION_BOOL, .only_flag = true,
       .help = "only show what would be removed", .commands = IN_CLEANUP)
OPTION(FORCE, .flag = "force", .type = OPTION_BOOL, .only_flag = true,
       .help = "remove without asking", .commands = IN_CLEANUP)
OPTION(CLEANUP_QUEUE, .flag = "queue", .letter = 'q', .variable = "TTG_QUEUE", .type = OPTION_LIST,
       .arg = "URL", .help = "server to look at; may be repeated", .commands = IN_CLEANUP)

/* ttg monitor */
OPTION(WEB, .flag = "web", .type = OPTION_STRING, .arg = "ADDR",
       .help = "serve the dashboard on HOST:PORT (:PORT: this machine only; port 0: any)",
       .commands = IN_MONITOR)
OPTION(TOKEN_FILE, .flag = "token-file", .variable = "TTG_TOKEN_FILE", .type = OPTION_STRING,
       .arg = "FILE", .help = "the dashboard's token is the first line of FILE",
       .commands = IN_MONITOR | IN_NODE | IN_RUN)
OPTION(TOKEN, .variable = "TTG_TOKEN", .type = OPTION_STRING, .secret = true, .empty_ok = true,
       .help = "the dashboard's token, for containers without such a file",
       .commands = IN_MONITOR | IN_NODE | IN_RUN)

/* ttg node */
OPTION(DATA, .flag = "data", .type = OPTION_STRING, .variable = "TTG_DATA", .arg = "DIR",
       .help = "directory of log and snapshots; created when missing", .commands = IN_NODE)
OPTION(LISTEN, .flag = "listen", .type = OPTION_LIST, .arg = "ADDR",
       .help = "serve on HOST:PORT; port 0: any; may be repeated", .commands = IN_NODE)
OPTION(UNIX, .flag = "unix", .type = OPTION_STRING, .arg = "PATH",
       .help = "serve on a Unix socket", .commands = IN_NODE)
OPTION(HTTP, .flag = "http", .type = OPTION_STRING, .arg = "ADDR",
       .help = "serve /metrics, /healthz, /readyz and the dashboard on HOST:PORT",
       .commands = IN_NODE | IN_RUN)
OPTION(WORKER_HTTP, .flag = "http", .variable = "TTG_HTTP", .type = OPTION_STRING, .arg = "ADDR",
       .help = "serve /metrics, /healthz and /readyz on HOST:PORT", .commands = IN_WORKER)
OPTION(SYNC, .flag = "sync", .type = OPTION_STRING, .arg = "always|interval:MS|never",
       .def = "always",
       .help = "when the log is synced; only `always` survives a power cut without loss",
       .commands = IN_NODE | IN_RUN | IN_PIPELINE | IN_DOCTOR | IN_BENCH)
OPTION(PASSWORD_FILE, .flag = "password-file", .variable = "TTG_PASSWORD_FILE",
       .type = OPTION_STRING, .arg = "FILE",
       .help = "clients must give the password in the first line of FILE", .commands = IN_NODE)
OPTION(INSECURE, .flag = "insecure", .type = OPTION_BOOL,
       .help = "listen beyond this machine without a password", .commands = IN_NODE)
OPTION(TLS_LISTEN, .flag = "tls-listen", .type = OPTION_LIST, .arg = "ADDR",
       .help = "serve TLS on HOST:PORT; may be repeated", .commands = IN_NODE)
OPTION(TLS_CERT, .flag = "tls-cert", .variable = "TTG_TLS_CERT", .type = OPTION_STRING,
       .arg = "FILE", .help = "certificate (PEM)", .commands = IN_NODE)
OPTION(TLS_KEY, .flag = "tls-key", .variable = "TTG_TLS_KEY", .type = OPTION_STRING, .arg = "FILE",
       .help = "its key (PEM)", .commands = IN_NODE)
OPTION(TLS_CA, .flag = "tls-ca", .variable = "TTG_TLS_CA", .type = OPTION_STRING, .arg = "FILE",
       .help = "certificates to trust (PEM)", .commands = IN_NODE)
OPTION(TLS_CLIENTS, .flag = "tls-clients", .type = OPTION_BOOL,
       .help = "clients must show a certificate that --tls-ca trusts", .commands = IN_NODE)
OPTION(MAX_CLIENTS, .flag = "max-clients", .type = OPTION_U64, .unit = "clients", .min = "1",
       .max = "1000000", .def = "10000", .help = "connections at a time", .commands = IN_NODE)
OPTION(SNAPSHOT_LOG, .flag = "snapshot-log", .type = OPTION_SIZE, .min = "4KiB", .def = "16MiB",
       .max = "1TiB", .help = "write a snapshot after this much log", .commands = IN_NODE)
OPTION(LOG_FILE, .flag = "log-file", .type = OPTION_STRING, .arg = "FILE",
       .help = "append the log to FILE; SIGHUP opens it again", .commands = IN_NODE)
OPTION(UNTIL_EOF, .flag = "until-eof", .type = OPTION_BOOL, .only_flag = true,
       .help = "stop when standard input, a pipe, has ended and no client is left; exit code 5: no "
               "room on the disk",
       .commands = IN_NODE)
OPTION(CHECK, .flag = "check", .type = OPTION_BOOL, .only_flag = true,
       .help = "read all of --data, change nothing, say whether it is good", .commands = IN_NODE)
OPTION(REPAIR, .flag = "repair", .type = OPTION_BOOL, .only_flag = true,
       .help = "cut the log at the damage, keep the damaged file aside", .commands = IN_NODE)
OPTION(COMMANDS, .flag = "commands", .type = OPTION_BOOL, .only_flag = true,
       .help = "write the reference of the commands that a node serves", .commands = IN_NODE)

/* ttg help */
OPTION(COMPLETION, .flag = "completion", .type = OPTION_ENUM, .choices = "bash|zsh|fish",
       .only_flag = true, .help = "write a completion script", .commands = IN_HELP)
OPTION(MAN, .flag = "man", .type = OPTION_BOOL, .only_flag = true, .help = "write the man page",
       .commands = IN_HELP)
OPTION(MARKDOWN, .flag = "markdown", .type = OPTION_BOOL, .only_flag = true,
       .help = "write the reference", .commands = IN_HELP)
