#include "adapters/redis/redis_refusal.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace paretod {
namespace {

constexpr std::array<std::string_view, 9> passing = {"LOADING",     "OOM",        "MISCONF",
                                                     "READONLY",    "NOREPLICAS", "BUSY",
                                                     "CLUSTERDOWN", "TRYAGAIN",   "MASTERDOWN"};

struct Remedy {
  std::string_view code;
  ErrorKind kind;
  std::string_view text;
};

// Every code that paretod can meet and that a person can do something about.
constexpr std::array<Remedy, 14> remedies = {{
    {"LOADING", ErrorKind::unavailable, "it is still loading its data; wait"},
    {"OOM", ErrorKind::unavailable,
     "it has reached maxmemory; raise maxmemory or free memory there"},
    {"MISCONF", ErrorKind::unavailable,
     "it cannot write its files, most likely because its disk is full; free space there"},
    {"READONLY", ErrorKind::unavailable,
     "it is a read-only replica; point paretod at the master, or promote this server"},
    {"NOREPLICAS", ErrorKind::unavailable,
     "it has fewer replicas than min-replicas-to-write; bring the replicas back"},
    {"BUSY", ErrorKind::unavailable,
     "a script of another client blocks it; end it with SCRIPT KILL"},
    {"CLUSTERDOWN", ErrorKind::unavailable, "its cluster is down; repair the cluster"},
    {"MASTERDOWN", ErrorKind::unavailable, "it is a replica without its master"},
    {"NOAUTH", ErrorKind::denied,
     "it needs a password; put it into the URL, redis://user:password@host"},
    {"WRONGPASS", ErrorKind::denied, "the user name or the password in the URL is wrong"},
    {"DENIED", ErrorKind::denied,
     "protected mode keeps clients of other machines out; give it a password and use it"},
    {"WRONGTYPE", ErrorKind::corrupt,
     "another program uses paretod's keys; give paretod a prefix of its own"},
    {"MOVED", ErrorKind::denied, "it is a node of a cluster; paretod needs a single server"},
    {"ASK", ErrorKind::denied, "it is a node of a cluster; paretod needs a single server"},
}};

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

RedisRefusal::Meaning meaning_of(std::string_view code, std::string_view reply) {
  if (std::find(passing.begin(), passing.end(), code) != passing.end()) {
    return RedisRefusal::Meaning::try_later;
  }
  if (contains(reply, "equal or smaller than")) return RedisRefusal::Meaning::id_taken;
  return RedisRefusal::Meaning::final;
}

}  // namespace

std::string redis_acl_rules(std::string_view prefix) {
  std::string rules = "~";
  rules += prefix;
  rules +=
      "* +auth +select +ping +info +multi +exec +xadd +xrange +xrevrange +exists +sadd "
      "+smembers +get +set";
  return rules;
}

RedisRefusal::RedisRefusal(std::string reply) : reply_(std::move(reply)) {
  meaning_ = meaning_of(code(), reply_);
}

std::string_view RedisRefusal::code() const {
  return std::string_view(reply_).substr(0, reply_.find(' '));
}

Error RedisRefusal::error(const RedisAddress& address) const {
  const std::string where = "Redis at " + address.text() + " refuses: ";
  std::string quoted = " (";
  quoted += reply_;
  quoted += ')';
  if (code() == "NOPERM") {
    const std::string user = address.user.empty() ? "default" : address.user;
    return Error{ErrorKind::denied, where + "user '" + user +
                                        "' lacks a permission; grant it with ACL SETUSER " + user +
                                        " " + redis_acl_rules("<prefix>") + quoted};
  }
  if (contains(reply_, "without any password configured")) {
    return Error{ErrorKind::denied,
                 where + "it has no password; remove the password from the URL" + quoted};
  }
  if (contains(reply_, "exhausted the last possible ID")) {
    return Error{ErrorKind::corrupt,
                 where + "somebody appended the largest id, so the log is at its end" + quoted};
  }
  const auto* const remedy = std::find_if(
      remedies.begin(), remedies.end(), [this](const Remedy& each) { return each.code == code(); });
  if (remedy != remedies.end()) {
    return Error{remedy->kind, where + std::string(remedy->text) + quoted};
  }
  const bool passes = meaning_ == Meaning::try_later;
  return Error{passes ? ErrorKind::unavailable : ErrorKind::internal, where + reply_};
}

}  // namespace paretod
