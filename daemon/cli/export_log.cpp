#include "daemon/cli/export_log.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <ostream>

namespace paretod::cli {
namespace {

struct Written {
  std::uint64_t events = 0;
  std::uint64_t bytes = 0;
};

Result<Written> copy_log(DaemonApi& api, const std::string& job, std::ostream& out) {
  Written written;
  std::string after;
  while (true) {
    const std::string query = after.empty() ? "" : "?after=" + url_escape(after);
    const auto reply = api.stream(job_path(job, "/export" + query), [&](std::string_view data) {
      written.events += static_cast<std::uint64_t>(std::count(data.begin(), data.end(), '\n'));
      written.bytes += data.size();
      return static_cast<bool>(out.write(data.data(), static_cast<std::streamsize>(data.size())));
    });
    if (!reply) return reply.error();
    if (!out)
      return Error{ErrorKind::exhausted, std::string("cannot write: ") + std::strerror(errno)};
    const auto next = reply->header("paretod-next");
    if (!next || next->empty() || *next == after) return written;
    after = *next;
  }
}

}  // namespace

int export_job_log(const Session& session, const std::string& job,
                   const std::optional<std::string>& file) {
  Console& console = session.console;
  if (!file || *file == "-") {
    const auto written = copy_log(session.api, job, console.out);
    console.out.flush();
    return written ? exit_ok : fail(console, written.error());
  }
  const std::string partial = *file + ".partial";
  std::ofstream out(partial, std::ios::binary | std::ios::trunc);
  if (!out) return fail_usage(console, "cannot write " + partial + ": " + std::strerror(errno));
  auto written = copy_log(session.api, job, out);
  out.close();
  if (written && (!out || std::rename(partial.c_str(), file->c_str()) != 0)) {
    written = Error{ErrorKind::exhausted, "cannot write " + *file + ": " + std::strerror(errno)};
  }
  if (!written) {
    std::remove(partial.c_str());
    return fail(console, written.error());
  }
  if (!session.json()) {
    console.out << "wrote " << plural(written->events, "event") << " to " << *file << " ("
                << format_bytes(written->bytes) << ")\n";
  }
  return exit_ok;
}

}  // namespace paretod::cli
