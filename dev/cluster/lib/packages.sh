# shellcheck shell=bash disable=SC2034 # sourced; its variables are read elsewhere
# What comes from Debian. apt verifies every checksum against signed lists.

# The node's own programs are unpacked, never installed: Debian's containerd
# would displace Docker's, and start a service.
UNPACKED=(containerd runc containernetworking-plugins busybox-static)

# Tools that the machine must have: ip, iptables (used by kube-proxy and the
# portmap plugin), nft, and a library of runc's.
INSTALLED=(iproute2 iptables nftables libseccomp2 util-linux)

# The node finds its programs here.
NODE_PATH=$BUILD/debian/containerd/usr/bin:$BUILD/debian/runc/usr/sbin:/usr/sbin:/usr/bin:/sbin:/bin

debian_packages() {
  local package missing=()
  for package in "${INSTALLED[@]}"; do
    [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) == *' installed' ]] || missing+=("$package")
  done
  if ((${#missing[@]})); then
    say "installing ${missing[*]}"
    apt_install "${missing[@]}" || { apt_update && apt_install "${missing[@]}"; } ||
      die "these Debian packages could not be installed: ${missing[*]}"
  fi
  for package in "${UNPACKED[@]}"; do
    [[ -e $BUILD/debian/$package/.complete ]] || unpack "$package" || { apt_update && unpack "$package"; } ||
      die "Debian package $package could not be downloaded"
  done
}

apt_install() { DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >"$BUILD/log/apt.log" 2>&1; }
apt_update() { apt-get update -qq; }

unpack() {
  local package=$1 into=$BUILD/debian/$1
  rm -rf "$into"
  mkdir -p "$into"
  # Without the sandbox user, for whom a checkout need not be readable.
  (cd "$into" && apt-get download -qq -o APT::Sandbox::User=root "$package" >"$BUILD/log/apt.log" 2>&1) || return 1
  dpkg-deb -x "$into"/*.deb "$into"
  mv "$into"/*.deb "$into/.complete" # keeps the version that was unpacked on record: dpkg-deb -I
  say "unpacked $package $(dpkg-deb -f "$into/.complete" Version)"
}
