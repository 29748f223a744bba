# Sourced by up.sh: accounting, a private MariaDB on a socket and slurmdbd.
# shellcheck shell=bash disable=SC2154

start_accounting() {
    DATABASE_SOCKET=$DIR/run/mariadb.sock
    start_mariadb
    start_slurmdbd
    if [[ -z $(sacctmgr -nP list cluster sandbox format=cluster 2>/dev/null) ]]; then
        sacctmgr -i add cluster sandbox >>"$DIR/log/sacctmgr.out" 2>&1 ||
            die_with "$DIR/log/sacctmgr.out" 'the cluster cannot be registered with slurmdbd'
    fi
    say 'slurmdbd is up'
}

start_mariadb() {
    local data=$DIR/mysql base=/usr as_user=()
    [[ ! -x $PACKAGES/root/usr/sbin/mariadbd ]] || base=$PACKAGES/root/usr
    ((!IS_ROOT)) || as_user=(--user=slurm)
    if ! is_up "$DIR/run/mariadbd.pid" mariadbd; then
        mkdir -p "$data"
        chmod 700 "$data"
        ((!IS_ROOT)) || chown slurm:slurm "$data"
        if [[ ! -e $data/.made ]]; then
            rm -rf "${data:?}"/*
            mariadb-install-db --no-defaults --basedir="$base" "${as_user[@]}" --datadir="$data" \
                --skip-test-db --skip-name-resolve --auth-root-authentication-method=socket \
                --auth-root-socket-user="$ME" >"$DIR/log/mariadb-install.log" 2>&1 9>&- ||
                die_with "$DIR/log/mariadb-install.log" 'the database could not be made'
            touch "$data/.made"
            say 'database made'
        fi
        mariadbd --no-defaults --basedir="$base" "${as_user[@]}" --datadir="$data" \
            --socket="$DATABASE_SOCKET" --pid-file="$DIR/run/mariadbd.pid" --skip-networking \
            --skip-log-bin --innodb-buffer-pool-size=128M --innodb-log-file-size=64M \
            --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=2 --performance-schema=OFF \
            --log-error="$DIR/log/mariadb.err" </dev/null >/dev/null 2>&1 9>&- &
        disown
        try_for 30 mariadb --no-defaults -u "$ME" -S "$DATABASE_SOCKET" -e 'select 1' ||
            die_with "$DIR/log/mariadb.err" 'mariadbd did not start'
    fi
    mariadb --no-defaults -u "$ME" -S "$DATABASE_SOCKET" -e "
        create database if not exists slurm_acct_db;
        create user if not exists '$SLURM_USER'@'localhost' identified via unix_socket;
        grant all on slurm_acct_db.* to '$SLURM_USER'@'localhost';" ||
        die 'the accounting database could not be prepared'
    say 'mariadbd is up'
}

start_slurmdbd() {
    ! is_up "$DIR/run/slurmdbd.pid" slurmdbd || return 0
    require_free_port $((PORT + 2)) slurmdbd
    rm -f "$DIR/run/slurmdbd.pid"
    # the client library takes a socket's path from the environment only
    MYSQL_UNIX_PORT=$DATABASE_SOCKET MARIADB_UNIX_PORT=$DATABASE_SOCKET \
        as_slurm slurmdbd </dev/null >"$DIR/log/slurmdbd.out" 2>&1 9>&- || {
        cat "$DIR/log/slurmdbd.out" >&2
        die_with "$DIR/log/slurmdbd.log" 'slurmdbd did not start'
    }
    try_for 30 sacctmgr -n list cluster ||
        die_with "$DIR/log/slurmdbd.log" "slurmdbd does not answer on port $((PORT + 2))"
}
