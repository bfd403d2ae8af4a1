#!/bin/bash
# A study on the nodes of one Slurm job: sbatch slurm.sh paper --data /shared/CheXpert-v1.0
# Say here what is yours; submit it in the project's folder, and again where the time was too short: it goes on.
#SBATCH --job-name=chexlib
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --output=%x-%j.log
#SBATCH --no-kill
set -euo pipefail
export PATH="$PWD/.venv/bin:$PATH" RAY_USAGE_STATS_ENABLED=0

# Only this job may give its nodes work.
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex())')
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
port=$((20000 + SLURM_JOB_ID % 20000))
address=${nodes[0]}:$port

start() { # NODE OPTION...: one of Ray's nodes, until the job ends
  srun --nodes=1 --ntasks=1 --nodelist="$1" --cpus-per-task="$SLURM_CPUS_PER_TASK" \
    ray start --block --num-cpus="$SLURM_CPUS_PER_TASK" --temp-dir="/tmp/ray-$SLURM_JOB_ID" "${@:2}" &
}
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT

start "${nodes[0]}" --head --port="$port" --include-dashboard=false
until ray status --address "$address" 2>&1 | grep -q "1 node_"; do
  kill -0 $! # or the head did not start
  sleep 2
done
for node in "${nodes[@]:1}"; do
  start "$node" --address="$address"
done
chexlib study run "$@" --ray "$address"
