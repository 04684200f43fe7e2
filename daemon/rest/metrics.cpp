#include "daemon/rest/metrics.hpp"

#include <unistd.h>

#include <charconv>
#include <fstream>

namespace paretod {
namespace {

void append_escaped(std::string& out, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
}

template <class T>
double number(T value) {
  return static_cast<double>(value);
}

void put_lanes(MetricsText& text, const std::vector<LaneStatus>& lanes) {
  const auto each = [&](auto member) {
    for (const LaneStatus& lane : lanes) {
      text.sample(number(lane.*member), {{"evaluator", lane.evaluator}});
    }
  };
  text.gauge("paretod_evaluator_slots", "Evaluations an evaluator works on at once.");
  each(&LaneStatus::slots);
  text.gauge("paretod_evaluator_busy", "Slots that are at work.");
  each(&LaneStatus::busy);
  text.gauge("paretod_evaluator_queued", "Trials waiting for a slot.");
  each(&LaneStatus::queued);
  text.counter("paretod_evaluator_completed_total", "Attempts that have ended.");
  each(&LaneStatus::completed);
  text.counter("paretod_evaluator_retried_total", "Attempts that are repeated.");
  each(&LaneStatus::retried);
}

void put_http(MetricsText& text, const HttpCounters& http) {
  text.counter("paretod_http_responses_total", "HTTP responses by class of status.");
  for (std::size_t i = 0; i < http.responses.size(); ++i) {
    text.sample(number(http.responses[i]), {{"class", std::to_string(i + 1) + "xx"}});
  }
  text.counter("paretod_http_too_many_requests_total",
               "Responses 429: requests that came too fast, or no room for more jobs.");
  text.sample(number(http.responses_429));
  text.counter("paretod_http_requests_malformed_total", "Requests refused as malformed.");
  text.sample(number(http.requests_malformed));
  text.counter("paretod_http_failures_total", "Requests that failed because of a defect.");
  text.sample(number(http.handler_failures));
  text.counter("paretod_http_deadlines_missed_total", "Connections closed for being too slow.");
  text.sample(number(http.deadlines_missed));
  text.gauge("paretod_http_connections", "Open connections.");
  text.sample(number(http.connections_open));
  text.counter("paretod_http_connections_total", "Accepted connections.");
  text.sample(number(http.connections_accepted));
  text.counter("paretod_http_connections_refused_total", "Connections there was no room for.");
  text.sample(number(http.connections_refused));
}

}  // namespace

void MetricsText::family(std::string_view name, std::string_view help, std::string_view type) {
  name_ = name;
  text_.append("# HELP ").append(name).append(" ");
  append_escaped(text_, help, false);
  text_.append("\n# TYPE ").append(name).append(" ").append(type).append("\n");
}

void MetricsText::sample(double value, const Labels& labels) {
  text_ += name_;
  char separator = '{';
  for (const auto& [name, label] : labels) {
    text_ += separator;
    text_.append(name).append("=\"");
    append_escaped(text_, label, true);
    text_ += '"';
    separator = ',';
  }
  if (!labels.empty()) text_ += '}';
  char digits[32];
  text_ += ' ';
  text_.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
  text_ += '\n';
}

std::uint64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t total = 0;
  std::uint64_t resident = 0;
  if (!(statm >> total >> resident)) return 0;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

std::string metrics_text(const MetricsInput& input) {
  MetricsText text;
  text.gauge("paretod_build_info", "Always 1; the label says which build runs.");
  text.sample(1, {{"build", input.build}});
  text.gauge("paretod_store_info", "Always 1; the label says how safe an acknowledged event is.");
  text.sample(1, {{"durability", input.durability}});
  text.gauge("paretod_uptime_seconds", "Time since the API was set up.");
  text.sample(input.uptime_seconds);
  text.gauge("process_resident_memory_bytes", "Resident memory of the daemon.");
  text.sample(number(resident_bytes()));

  text.gauge("paretod_jobs", "Jobs by status.");
  for (std::size_t i = 0; i < input.jobs.size(); ++i) {
    text.sample(number(input.jobs[i]),
                {{"status", std::string(name_of(static_cast<JobStatus>(i)))}});
  }
  text.gauge("paretod_jobs_unreadable", "Jobs whose log could not be read.");
  text.sample(number(input.unreadable_jobs));
  text.gauge("paretod_trials", "Told trials of all jobs by status.");
  for (std::size_t i = 0; i < input.trials.size(); ++i) {
    text.sample(number(input.trials[i]),
                {{"status", std::string(name_of(static_cast<TrialStatus>(i)))}});
  }
  text.gauge("paretod_evaluation_seconds", "Evaluation time of all told trials.");
  text.sample(input.evaluation_seconds);

  put_lanes(text, input.lanes);
  put_http(text, input.http);
  text.gauge("paretod_event_clients", "Clients that follow a job's events.");
  text.sample(number(input.event_clients));
  text.counter("paretod_event_resets_total", "Event streams ended for lagging too far behind.");
  text.sample(number(input.http.event_streams_reset));
  return text.take();
}

}  // namespace paretod
