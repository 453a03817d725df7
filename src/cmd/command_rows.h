/* SPDX-License-Identifier: Apache-2.0 */
/* command_rows - every subcommand, once. Included several times with another COMMAND each.
 *
 * A new subcommand is one row here and its function `int cmd_NAME(struct command_run *)` in a file
 * src/cmd/cmd_NAME.c. Its options are the rows of option_rows.h that carry IN_ID. The help, the
 * reference, the man page and the completions follow by themselves; docs/reference.md is written
 * anew with `build/ttg help --markdown > docs/reference.md`.
 *
 * Fields besides summary: usage (what stands behind the name, without [options]), details (further
 * paragraphs of the help), args_max (positional arguments), takes_command (whether `-- CMD...` may
 * follow). */
/* clang-format off */

COMMAND(RUN, run,
        .summary = "run a job: start workers, collect the results, lose nothing",
        .usage = "[-- CMD...]",
        .takes_command = true,
        .details =
            "Cuts the parameters (--params N, --range A..B or the lines of --input FILE) into "
            "chunks and has --workers processes work them off. Each result is written once, as a "
            "line of JSON, to standard output or --output FILE. Without --queue a node is started "
            "in a private directory; with it the same job runs on the queue named, and workers on "
            "other machines may join: `ttg worker --queue URL --job NAME`.\n\n"
            "Without a command the work is simulated: parameters are summed. In CMD the words "
            "{start} {end} {chunk} {attempt} {job} are filled in; the parameters come on standard "
            "input, one a line, or as arguments where {} stands, or, of chunks of one, in place "
            "of {param}. Exit 0 commits what CMD printed, 100 gives the chunk up, anything "
            "else is tried again.\n\n"
            "Ctrl-C lets running chunks end; `--resume` with the same command goes on later, also "
            "after a crash of everything.")

COMMAND(SUBMIT, submit,
        .summary = "create a job on a queue; workers come when they like",
        .usage = "[JOB] --queue URL [-- CMD...]",
        .args_max = 1,
        .takes_command = true,
        .details =
            "Creates the job and returns; nothing runs yet. `ttg worker --queue URL --job NAME -- "
            "CMD...` on any machine works it off, `ttg results --follow` collects. The command is "
            "a part of the job's description only: a worker runs what it was started with. So are "
            "--simulate-ms and --plugin-arg. --timeout, --output-max and --fault-rate belong to the "
            "workers, and do nothing here.\n\n"
            "Doing it again is fine: the same name with the same parameters and rules is the same "
            "job. Another job, or one that has ended, of that name is refused with exit code 2.")

COMMAND(STATUS, status,
        .summary = "show the jobs of a queue, or how one of them goes",
        .usage = "[JOB]",
        .args_max = 1,
        .details =
            "Without JOB all jobs of the queue are listed. Without --queue it is the newest "
            "embedded job that is kept in the state directory: one that runs, was stopped, or has "
            "dead letters. If its node does not run, it is started for as long as this takes.")

COMMAND(WAIT, wait,
        .summary = "wait until a job has ended",
        .usage = "[JOB]",
        .args_max = 1,
        .details =
            "Exit code 0: every chunk has its result. 1: it ended without some of them (dead "
            "letters, or canceled). 124: --timeout is over and the job is not.")

COMMAND(RESULTS, results,
        .summary = "print the results of a job, or collect them into a file",
        .usage = "[JOB]",
        .args_max = 1,
        .details =
            "Prints the results there are, one line of JSON each, or with --follow all until the "
            "job has ended. With --output FILE they are appended to FILE, and FILE.cursor says how "
            "far it is safe; --resume goes on there. The queue keeps them, unless --trim: then it "
            "forgets what is safe in FILE (the newest 10,000 stay).")

COMMAND(VERIFY, verify,
        .summary = "prove that every chunk has exactly one result",
        .usage = "[JOB]",
        .args_max = 1,
        .details =
            "Compares the lines of --output FILE, or the results that the queue still has, with "
            "what the queue's ledger counted: number, digest, and which chunks. With --chunks N a "
            "file is checked without a queue. Exit code 4, and a list of the chunks that are "
            "missing or doubled and of lines that are no result, when something is wrong.")

COMMAND(CANCEL, cancel,
        .summary = "end a job: nothing starts or is committed any more",
        .usage = "[JOB]",
        .args_max = 1)

COMMAND(PAUSE, pause,
        .summary = "hold a job: running chunks end, no new one starts",
        .usage = "[JOB]",
        .args_max = 1)

COMMAND(RESUME, resume,
        .summary = "let a paused job go on",
        .usage = "[JOB]",
        .args_max = 1,
        .details =
            "For `ttg pause`. A run that was stopped goes on with `ttg run --resume` and its "
            "command.")

COMMAND(DLQ, dlq,
        .summary = "dead letters: chunks that were given up",
        .usage = "list [JOB] | show|redrive|drop [JOB] CHUNK",
        .args_max = 3,
        .details =
            "list prints them with the last reason, show one of them with all reasons kept. "
            "redrive gives a chunk, or --all, fresh attempts: a finished job runs again, and `ttg "
            "run --resume` with the job's command or any worker takes them. drop closes them "
            "without a result.\n\n"
            "With --json list and show print a line for each dead letter, redrive and drop "
            "{\"job\":...,\"redriven\":N} or {\"job\":...,\"dropped\":N}.")

COMMAND(EXPLAIN, explain,
        .summary = "say why a job, or one of its chunks, does not run",
        .usage = "[JOB [CHUNK]]",
        .args_max = 2)

COMMAND(MONITOR, monitor,
        .summary = "watch the jobs of a queue, on the terminal or in the browser",
        .usage = "[JOB] [--web ADDR]",
        .args_max = 1,
        .details =
            "Shows a job on the terminal: progress, rate, all chunks, who runs what and since "
            "when, losses and takeovers, dead letters. Without JOB it is the newest one. Keys: q "
            "leaves, p pauses and goes on, d drains, r redrives dead letters, j and k choose the "
            "job, ? explains. The queue may go and come back meanwhile.\n\n"
            "With --once, or where standard output is no terminal, one picture is printed; "
            "--watch S prints one every S seconds. --json prints all that is known as one line "
            "of JSON (docs/monitor.md).\n\n"
            "--web serves a page that shows the same and more. The address to open, with a token "
            "that allows actions, is said on standard error. On another address than this "
            "machine's own --token-file is needed, and then also for looking. `ttg node --http` "
            "serves the same page.")

COMMAND(PIPELINE, pipeline,
        .summary = "run stages of commands and aggregates with queues between them",
        .usage = "VERB FILE | dlq ACTION FILE [STAGE]",
        .args_max = 4,
        .details =
            "VERB is check, run, status, drain or clean; ACTION is list, redrive or drop.\n\n"
            "FILE describes the stages (docs/pipelines.md). run starts them and one supervisor, "
            "restarts what dies, moves the clients of a lost instance to another one with their "
            "state, and ends when every client has ended in every sink; after a crash of "
            "everything the same command goes on. SIGTERM, Ctrl-C and `drain` stop the sources "
            "and empty the queues; a second signal stops at once. check only reads FILE.\n\n"
            "status shows each stage; dlq the messages a stage gave up, to try them again or drop "
            "them; clean removes the state, so that the next run begins anew. Without --queue a "
            "node runs inside the state directory.")

COMMAND(WORKER, worker,
        .summary = "process parameters: the worker's own range, or chunks from a queue",
        .usage = "[-- CMD...]",
        .takes_command = true,
        .details =
            "In static mode (QUEUE_MODE=false, the default) the parameters 0 .. TOTAL_PARAMETERS-1 "
            "are split over TOTAL_WORKERS workers without any coordination; this one, WORKER_ID, "
            "processes its own range in chunks. Parts differ by one parameter at most.\n\n"
            "Without a command the work is simulated: the parameters are summed. `-- CMD...` runs "
            "CMD once per chunk, `--coproc -- CMD...` keeps it running and sends it one JSON line "
            "per chunk, `--plugin LIB.so` calls a shared library.\n\n"
            "Standard output gets one JSON line with the result; a kernel with output of its own "
            "adds one line per chunk before it.\n\n"
            "With --queue it takes chunks of --job until the job has ended, and writes nothing on "
            "standard output: results go to the queue. Start as many as you like, anywhere. After "
            "SIGTERM what runs is finished within --drain and the rest given back, after a second "
            "one all is given back (docs/workers.md).")

COMMAND(NODE, node,
        .summary = "serve streams and jobs over the Redis protocol from a log on disk",
        .usage = "--data DIR",
        .details =
            "The node owns the directory: a log of every change, one sync for all that arrive "
            "together, and snapshots. An answer means that the change is on disk (--sync always). "
            "Redis clients work on it; the TTG.* commands serve jobs (docs/protocol.md).\n\n"
            "It prints `listening on ADDR` for each address and `ready` on standard output, and "
            "tells systemd. SIGTERM answers what was accepted and stops, SIGHUP opens --log-file "
            "again. Without --password-file it listens on this machine only, unless --insecure. "
            "Exit code 3: the directory is in use, damaged, or the disk failed.")

COMMAND(DEMO, demo,
        .summary = "watch a job survive the death of a worker",
        .details =
            "Runs a small job on real worker processes and proves its result: 1,000 parameters in "
            "100 chunks (--scale small, 10 ms a parameter) or 10,000 (medium, 0.1 ms). With "
            "--fault-demo the job runs twice, and the second time a worker is killed in the middle "
            "of a chunk: one sees when the queue notices, who takes the chunk over, how long that "
            "took, and what it cost.\n\n"
            "For --backend redis or rabbitmq a server of its own is started on free ports of "
            "127.0.0.1, with its files in a directory of its own below the state directory. "
            "Everything is removed at the end, also after Ctrl-C, unless --skip-cleanup is given. "
            "--backend all shows one after the other, and a table. With --runtime podman server and "
            "workers are containers, with --runtime k8s pods in a namespace of their own on the "
            "cluster that kubectl reaches.\n\n"
            "With --json standard output gets one line of JSON for each backend.")

COMMAND(BENCH, bench,
        .summary = "measure what a chunk costs on this machine and queue",
        .usage = "[-- CMD...]",
        .takes_command = true,
        .details =
            "Runs jobs whose chunks do nothing, each as an ordinary `ttg run` from its start to "
            "its proven end: one chunk; as many as there is time for; the same with one chunk at "
            "a time (--prefetch 0); and with a command for each chunk (`true`, or CMD). What it "
            "prints tells how long chunks should be on this machine, with this queue.\n\n"
            "Without --queue the jobs are embedded ones, in a directory that is removed. On a "
            "queue they are called bench-..., and are removed as well. Processor time is that "
            "of ttg's own processes, a server's is not in it.")

COMMAND(CLEANUP, cleanup,
        .summary = "show what of ttg lies about, and remove it",
        .usage = "--local | --redis | --rabbitmq | --pods | --all",
        .details =
            "--local: directories of demos and of embedded jobs below the state directory, and "
            "servers that a demo left running. --redis and --rabbitmq: all jobs of the servers "
            "named by --queue, with their keys or queues. --pods: objects of Kubernetes (in the "
            "current namespace), podman and docker with the label app.kubernetes.io/part-of=ttg. "
            "--all: all of these, and labelled volumes and secrets.\n\n"
            "It shows first and then asks; without a terminal nothing is removed unless --force is "
            "given. Nothing that carries other names or labels is touched, and what is in use by a "
            "run or demo stays.")

COMMAND(DOCTOR, doctor,
        .summary = "check that what a job relies on is set up safely",
        .details =
            "Looks at this machine, at the disk, and at the queue: versions, persistence, eviction, "
            "replicas, alarms, limits, clocks. For each finding it says what it means for your data "
            "and how to fix it. Without --queue it looks at where embedded jobs are kept. Exit code "
            "0: nothing unsafe (warnings may be there), 1: something is unsafe, 3: the queue is not "
            "reachable.")

COMMAND(CONFIG, config,
        .summary = "print each setting and where its value came from",
        .usage = "[COMMAND]",
        .args_max = 1,
        .details =
            "A flag goes before a variable, a variable before the file, the file before the "
            "default. The file has lines `key = value`; `#` starts a comment. It is the one named "
            "by --config or TTG_CONFIG, else $XDG_CONFIG_HOME/ttg/config (~/.config/ttg/config) "
            "when that exists. With COMMAND only the settings of that command are shown.")

COMMAND(VERSION, version,
        .summary = "print the version")

COMMAND(HELP, help,
        .summary = "explain a command; write the reference, man page or completion",
        .usage = "[COMMAND]",
        .args_max = 1,
        .details =
            "Completion: `ttg help --completion bash > /etc/bash_completion.d/ttg`, "
            "`ttg help --completion zsh > \"${fpath[1]}/_ttg\"`, "
            "`ttg help --completion fish > ~/.config/fish/completions/ttg.fish`.")
