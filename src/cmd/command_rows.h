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
            "input, one a line. Exit 0 commits what CMD printed, 100 gives the chunk up, anything "
            "else is tried again.\n\n"
            "Ctrl-C lets running chunks end; `--resume` with the same command goes on later, also "
            "after a crash of everything.")

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
            "adds one line per chunk before it.")

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
