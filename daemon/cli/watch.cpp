#include "daemon/cli/watch.hpp"

#include <chrono>
#include <ostream>

#include "daemon/cli/interrupt.hpp"
#include "daemon/cli/listing_view.hpp"
#include "daemon/cli/progress.hpp"
#include "daemon/cli/report_view.hpp"

namespace paretod::cli {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

constexpr std::size_t front_rows = 10;

class Watch {
 public:
  Watch(const Session& session, std::string job)
      : session_(session), console_(session.console), job_(std::move(job)) {}

  int run();

 private:
  void show(const Json& job);
  void show_absence();
  void redraw(const std::string& line);
  /// Ends the redrawn line, so that what follows starts on a line of its own.
  void leave_line();
  int detach();
  int finish(const HttpReply& reply, const Json& job);
  [[nodiscard]] bool away() const { return away_since_.has_value(); }

  const Session& session_;
  Console& console_;
  const std::string job_;
  Interrupt interrupt_;
  bool seen_ = false;
  bool line_open_ = false;
  std::string shown_status_;
  Clock::time_point shown_at_;
  std::optional<Clock::time_point> away_since_;
};

int Watch::run() {
  while (true) {
    const auto reply = session_.api.get(job_path(job_));
    if (interrupt_.pressed()) return detach();
    const bool absent = !reply && reply.error().kind == ErrorKind::unavailable;
    if (absent && seen_ && (!away() || seconds_since(*away_since_) < console_.pace.patience_s)) {
      show_absence();
    } else if (!reply) {
      leave_line();
      return fail(console_, reply.error());
    } else {
      const auto job = session_.api.json_of(*reply);
      if (!job) {
        leave_line();
        return fail(console_, job.error());
      }
      show(*job);
      seen_ = true;
      if (is_final(text_at(*job, "status"))) return finish(*reply, *job);
    }
    if (interrupt_.wait(console_.pace.poll_s)) return detach();
  }
}

void Watch::show(const Json& job) {
  const bool back = away();
  away_since_.reset();
  if (session_.json()) return;
  if (console_.terminal) {
    redraw(progress_line(job, session_.page().width - 1));
    return;
  }
  if (back) console_.out << "paretod is back at " << session_.api.url() << '\n';
  const std::string status = text_at(job, "status");
  if (back || status != shown_status_ || seconds_since(shown_at_) >= console_.pace.plain_line_s) {
    console_.out << progress_text(job) << std::endl;
    shown_status_ = status;
    shown_at_ = Clock::now();
  }
}

void Watch::show_absence() {
  const bool first = !away();
  if (first) away_since_ = Clock::now();
  if (session_.json()) return;
  if (console_.terminal) {
    redraw(cut(job_ + "  waiting for paretod at " + session_.api.url() + " to come back (" +
                   format_seconds(std::floor(seconds_since(*away_since_))) + ")",
               session_.page().width - 1));
  } else if (first) {
    console_.out << "paretod at " << session_.api.url() << " went away; waiting for it to come back"
                 << std::endl;
  }
}

void Watch::redraw(const std::string& line) {
  console_.out << '\r' << line << "\x1b[K" << std::flush;
  line_open_ = true;
}

void Watch::leave_line() {
  if (line_open_) console_.out << std::endl;
  line_open_ = false;
}

int Watch::detach() {
  leave_line();
  console_.err << "Detached; the job goes on. Come back with: paretod watch " << job_
               << session_.reach << '\n';
  return exit_detached;
}

int Watch::finish(const HttpReply& reply, const Json& job) {
  leave_line();
  const std::string status = text_at(job, "status");
  const bool succeeded = status == "succeeded";
  if (session_.json()) {
    print_document(console_.out, reply.body);
    return succeeded ? exit_ok : exit_refused;
  }

  const Json& progress = at(job, "progress");
  std::string summary =
      job_ + " " + status + " after " + plural(count_at(progress, "told"), "trial");
  if (const auto running = number_at(progress, "running_seconds")) {
    summary += " and " + format_seconds(*running);
  }
  const std::string reason = text_at(job, "status_reason");
  if (!reason.empty()) summary += ": " + reason;
  for (const char* kind : {"infeasible", "failed", "unknown"}) {
    const std::uint64_t count = count_at(progress, kind);
    if (count > 0)
      summary +=
          (kind == std::string("infeasible") ? "; " : ", ") + format_count(count) + " " + kind;
  }
  (succeeded ? console_.out : console_.err) << summary << '\n';

  Lines result = report_view(at(job, "report"), at(at(job, "spec"), "objectives"));
  if (result.empty() && count_at(progress, "front_size") > 0) {
    const auto front = session_.api.get_json(job_path(job_, "/front"));
    if (front) result = front_view(*front, front_rows, session_.page());
  }
  if (!result.empty()) {
    console_.out << '\n';
    print(console_.out, result);
  }
  if (count_at(progress, "told") > 0) {
    console_.out << "\nWhere to look next:\n"
                 << "  paretod front " << job_ << session_.reach << '\n'
                 << "  paretod trials " << job_ << session_.reach << '\n'
                 << "  paretod export " << job_ << " -o " << job_ << ".jsonl" << session_.reach
                 << '\n';
    // Only jobs whose optimizer fits one have a surrogate.
    const auto surrogate = session_.api.get_json(job_path(job_, "/surrogate"));
    if (surrogate && text_at(*surrogate, "source") == "predicted") {
      console_.out << "  paretod surrogate " << job_ << session_.reach << '\n'
                   << "  paretod front " << job_ << " --predicted" << session_.reach << '\n'
                   << "  paretod verify " << job_ << " --count 4 --wait" << session_.reach << '\n';
    }
  }
  return succeeded ? exit_ok : exit_refused;
}

}  // namespace

int watch_job(const Session& session, const std::string& job) {
  return Watch(session, job).run();
}

}  // namespace paretod::cli
