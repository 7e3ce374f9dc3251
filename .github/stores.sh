#!/usr/bin/env bash
# Where the pipeline's stores are, and how they come from one run to the next (docs/github-actions.md).
#   stores.sh choose       tell the steps that follow which place this is: `prod` if its secrets are set, else `github`
#   stores.sh restore      bring back what the last run kept
#   stores.sh keep FILE    pack what the next run needs
set -euo pipefail

ADDRESSES=(MLFLOW_TRACKING_URI EVERGREEN_HISTORY_URL DVC_REMOTE_URL)
EXTRAS=(PREFECT_API_URL MLFLOW_TRACKING_USERNAME MLFLOW_TRACKING_PASSWORD
    AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_DEFAULT_REGION AWS_ENDPOINT_URL)

choose() {
    local name missing=() given=()
    for name in "${ADDRESSES[@]}"; do
        if [[ -n "${!name:-}" ]]; then given+=("$name"); else missing+=("$name"); fi
    done
    if [[ ${#given[@]} -eq 0 && -z "${PREFECT_API_URL:-}" ]]; then
        tell EVERGREEN_PLACE github
        tell KEPT stores
        echo "::notice::No addresses are set: the stores are files, kept from run to run."
        return
    fi
    if [[ ${#missing[@]} -gt 0 ]]; then
        echo "::error::Some addresses of the stores are set, and these are not: ${missing[*]}. Set all or none."
        return 1
    fi
    tell EVERGREEN_PLACE prod
    tell KEPT data-lock
    for name in "${ADDRESSES[@]}" "${EXTRAS[@]}"; do
        if [[ -n "${!name:-}" ]]; then tell "$name" "${!name}"; fi
    done
    dvc remote add --local --force --quiet remote "$DVC_REMOTE_URL"
}

restore() {
    local folder newest
    folder=$(mktemp -d)
    # Only what a run of this very branch of this very repository kept: a pull request from a fork may use any name.
    gh api --paginate "repos/$GITHUB_REPOSITORY/actions/artifacts?per_page=100" > "$folder/artifacts.json"
    newest=$(jq --raw-output --arg branch "$GITHUB_REF_NAME" --arg kept "$KEPT-" '
        .artifacts[]
        | select((.name | startswith($kept)) and (.expired | not))
        | select(.workflow_run.head_branch == $branch)
        | select(.workflow_run.head_repository_id == .workflow_run.repository_id)
        | [.created_at, .id] | @tsv' "$folder/artifacts.json" | sort -k 1,1 -k 2,2n | tail -n 1 | cut -f 2)
    if [[ -z "$newest" ]]; then
        echo "::notice::No earlier run kept any $KEPT: this one begins with nothing."
        return
    fi
    gh api "repos/$GITHUB_REPOSITORY/actions/artifacts/$newest/zip" > "$folder/kept.zip"
    unzip -q "$folder/kept.zip" -d "$folder"
    tar --extract --gzip --file "$folder/kept.tar.gz"
    if [[ "$EVERGREEN_PLACE" == prod ]] && grep --quiet "^  ingest@$CASE:" dvc.lock; then
        dvc pull --quiet --remote remote "ingest@$CASE"
    fi
    echo "Restored artifact $newest."
}

keep() {
    local name wanted=(dvc.lock) there=()
    if [[ "$EVERGREEN_PLACE" == github ]]; then wanted+=(data .dvc/cache); fi
    for name in "${wanted[@]}"; do
        if [[ -e "$name" ]]; then there+=("$name"); fi
    done
    if [[ ${#there[@]} -eq 0 ]]; then
        echo "::notice::Nothing here that the next run needs."
        return
    fi
    mkdir -p "$(dirname "$1")"
    tar --create --gzip --file "$1" --exclude data/README.md "${there[@]}"
    du -h "$1"
}

tell() {
    echo "$1=$2" >> "$GITHUB_ENV"
}

cd "$(dirname "$0")/.."
"$@"
