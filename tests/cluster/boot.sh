#!/usr/bin/env bash
# Process 1 of a test host: NAME, the lab's folder, the repository, its kind (laptop or host), folders to show read-only.
# It makes the host's own view of the machine's disk, goes there, and runs an sshd.
set -euo pipefail
name=$1 lab=$2 repository=$3 kind=$4
shift 4
disk=$lab/disks/$name
root=$disk/root

mkdir -p "$disk/upper" "$disk/work" "$root" "$disk/home/.ssh"
mount -t overlay overlay -o "lowerdir=/,upperdir=$disk/upper,workdir=$disk/work" "$root"

mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=1777,size=1g tmpfs "$root/dev/shm"

shared=$(mktemp -d "$disk/shared.XXXXXX") # kept at hand: below, other mounts hide where it lies
mount --bind "$lab/shared" "$shared"
views=("$@")
[ "$kind" = laptop ] && views+=("$repository")
for place in "${views[@]}"; do
    kept=$(mktemp -d "$disk/view.XXXXXX")
    mount --bind "$place" "$kept"
    kept_views+=("$kept")
done

mkdir -p "$root/shared" "$root$repository"
mount -t tmpfs tmpfs "$root$repository" # hides the source
for place in /tmp /run; do
    mount -t tmpfs -o mode=1777 tmpfs "$root$place"
done
mount --bind "$disk/home" "$root/root"
mount --bind "$shared" "$root/shared"
order=()
[ "$kind" = laptop ] && order+=("$((${#views[@]} - 1))") # the repository first: it holds the environment
for ((i = 0; i < $#; i++)); do order+=("$i"); done
for i in "${order[@]}"; do
    mkdir -p "$root${views[i]}"
    mount --bind "${kept_views[i]}" "$root${views[i]}"
    mount -o remount,bind,ro "$root${views[i]}"
done

cp "$lab/hosts" "$root/etc/hosts"
: >"$root/etc/resolv.conf"
cp "$lab/key.pub" "$root/root/.ssh/authorized_keys"
[ "$kind" = laptop ] && install -m 600 "$lab/key" "$root/root/.ssh/lab_key"
chmod 700 "$root/root" "$root/root/.ssh"
chmod 600 "$root/root/.ssh/authorized_keys"
echo "$name" >/proc/sys/kernel/hostname
echo "$name" >"$root/etc/hostname"

cd "$root"
mkdir -p .before
pivot_root . .before
umount -l /.before
cd /
rmdir /.before

mkdir -p -m 755 /run/sshd
usermod -p '*' root # else sshd takes the account for locked
test -e /etc/ssh/lab_host_key || ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/lab_host_key
cat >/etc/ssh/lab_config <<'CONFIG'
HostKey /etc/ssh/lab_host_key
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
PrintMotd no
MaxStartups 100
PidFile none
CONFIG
/usr/sbin/sshd -D -e -f /etc/ssh/lab_config &
touch /run/booted
while :; do wait || true; sleep 1; done # process 1 takes in every orphan
