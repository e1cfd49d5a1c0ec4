# What the run.sh of most tools sources: which phases there are, and a project with the migrations of one.
set -euo pipefail

readonly tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly root=$tools/../..
readonly python=${LOCKKEEPER_TEST_PYTHON:-$root/target/venv/bin/python}
readonly node_modules=${LOCKKEEPER_TEST_NODE_MODULES:-$root/target/node/node_modules}
readonly all_phases=(create alter change concurrent nothing fail repaired duplicates)

# Some of these clients ask for TLS first, or insist on it.
export PGSSLMODE=disable
export PYTHONDONTWRITEBYTECODE=1
export NODE_PATH=$node_modules

# start FOLDER PHASE: lists the phases of the project in FOLDER and exits if PHASE is `phases`. Otherwise copies
# the project to $WORK and goes there; `migrations` are then those of PHASE and of all phases before it, in one
# folder, as they would be in a checkout of that day. `fail` never got through and is only there in its own phase.
start() {
    local -r source=$tools/$1 wanted=${2:-}
    local phase target known=no
    for phase in "${all_phases[@]}"; do
        [[ $phase == nothing || -d $source/migrations/$phase ]] || continue
        [[ $wanted != phases ]] || echo "$phase"
        [[ $wanted != "$phase" ]] || known=yes
    done
    [[ $wanted != phases ]] || exit 0
    if [[ $known == no ]]; then
        echo "usage: run.sh phases|PHASE, where PHASE is one that \`phases\` lists" >&2
        exit 64
    fi
    target=${WORK:?names a folder to work in}/$1
    rm -rf "$target"
    mkdir -p "$target"
    (cd "$source" && tar -cf - --exclude=./migrations --exclude=./run.sh .) | tar -xf - -C "$target"
    mkdir -p "$target/migrations"
    for phase in "${all_phases[@]}"; do
        if [[ -d $source/migrations/$phase && ($phase != fail || $wanted == fail) ]]; then
            cp -R "$source/migrations/$phase/." "$target/migrations/"
        fi
        [[ $phase != "$wanted" ]] || break
    done
    cd "$target"
}
